-- The release before said in words that an event changed nothing. Comparisons that are under way ask for it, by the few
-- items that they have not settled; nobody asks for the effect of older events.
update provider_event e
set effect = 'none'
from reconciliation_item i
where i.outcome = 'missing' and e.event_id = i.event_id and e.merchant_id = i.merchant_id
  and e.state = 'applied' and e.detail = 'everything it says was known by the time it was applied';
