-- What an event did to its payment and wallet.

-- none: all that it says was known · recorded: it told something new, and no wallet changed · credited, debited: by its
-- entries, of one direction · credited_and_debited: its entries go both ways, as when a payment arrives after its refund
-- Null if no facts were read of it, or by the release before.
alter table provider_event add column effect text;
-- Not checked against the rows there are, which have none: that would hold up every webhook meanwhile.
alter table provider_event add constraint provider_event_effect
  check (effect in ('none', 'recorded', 'credited', 'debited', 'credited_and_debited')) not valid;
