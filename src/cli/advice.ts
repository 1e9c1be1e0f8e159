import type { ProviderEvent } from '../inbox/events.ts';
import type { ParkReason } from '../payments/fact.ts';
import { LISTABLE_PROVIDERS } from '../providers/shared/names.ts';

/** What the advice about an event depends on. */
export type AdvisedEvent = Pick<ProviderEvent, 'eventId' | 'sourceId' | 'provider' | 'state' | 'reason' | 'paymentId'>;

/**
 * The commands that mend what an event waits for, ready to be copied; `…` stands for what only a person knows. In the
 * order in which they are to be run.
 * @param everywhere added to each of them, such as ` --merchant bus_a`
 */
export function commandsFor(event: AdvisedEvent, everywhere: string): readonly string[] {
  const { eventId, state, reason } = event;
  const commands =
    state === 'pending'
      ? [`npx chokin events show ${eventId}`]
      : state === 'waiting'
        ? fetchPayment(event)
        : reason === null
          ? []
          : COMMANDS[reason](event);
  const last = reason === null ? undefined : BEFORE_THE_LAST[reason];
  return commands.map((command, index) => {
    const before = last === undefined || index < commands.length - 1 ? '' : `  # ${last}`;
    return `${command}${everywhere}${before}`;
  });
}

/** What no command does, and is to be done before the last of them. */
const BEFORE_THE_LAST: Partial<Record<ParkReason, string>> = {
  unsupported_currency: 'first add it to WALLET_CURRENCIES where the service runs, and restart that',
  bonus_too_large: 'first raise MAX_BONUS_RATIO where the service runs, and restart that',
};

const replay = ({ eventId }: AdvisedEvent): string => `npx chokin events replay ${eventId}`;
const dismiss = ({ eventId }: AdvisedEvent): string => `npx chokin events dismiss ${eventId} --note "…"`;

function look({ paymentId }: AdvisedEvent): readonly string[] {
  return paymentId === null ? [] : [`npx chokin payments show ${asWord(paymentId)}`];
}

/** Where only a person can say how much is due to whom: look, correct the wallet, set the event aside. */
function correctWallet(event: AdvisedEvent): readonly string[] {
  return [...look(event), 'npx chokin wallets credit cus_… 12.50 USD --reason "…"', dismiss(event)];
}

/** Its payment, where the provider's API can be asked for it. */
function fetchPayment({ provider, sourceId }: AdvisedEvent): readonly string[] {
  const isListable = LISTABLE_PROVIDERS.some((name) => name === provider);
  return isListable ? [`npx chokin reconcile --source ${sourceId} --since 30d --dry-run`] : [];
}

const COMMANDS: Readonly<Record<ParkReason, (event: AdvisedEvent) => readonly string[]>> = {
  named_late: (event) => [
    ...look(event),
    `npx chokin payments reassign ${event.paymentId === null ? '…' : asWord(event.paymentId)} cus_… --reason "…"`,
    dismiss(event),
  ],
  no_customer: (event) => ['npx chokin customers list --email …', `${replay(event)} --customer cus_…`],
  unknown_customer: (event) => ['npx chokin customers list --email …', `${replay(event)} --customer cus_…`],
  unsupported_currency: (event) => [replay(event)],
  foreign_account: (event) => [`npx chokin sources set ${event.sourceId} --accounts …`, replay(event)],
  known_at_another_source: (event) => [dismiss(event)],
  source_missing: (event) => ['npx chokin sources list', replay(event)],
  apply_failed: (event) => [replay(event)],
  unknown_payment: (event) => [...fetchPayment(event), dismiss(event)],
  wrong_mode: (event) => [`npx chokin sources show ${event.sourceId}`, dismiss(event)],
  unsupported_payload: (event) => [dismiss(event)],
  unknown_currency: correctWallet,
  currency_changed: correctWallet,
  contradictory: correctWallet,
  overcaptured: (event) => [...look(event), replay(event)],
  order_not_completed: (event) => [...look(event), dismiss(event)],
  malformed: correctWallet,
  unknown_amount: correctWallet,
  customer_mismatch: correctWallet,
  invalid_metadata: correctWallet,
  bad_token: (event) => [...look(event), `${replay(event)} --customer cus_…`],
  token_used: (event) => [...look(event), `${replay(event)} --customer cus_…`],
  unknown_topup: (event) => [...look(event), `${replay(event)} --customer cus_…`],
  topup_mismatch: (event) => [...look(event), `${replay(event)} --customer cus_…`],
  topup_paid_twice: (event) => [...look(event), `${replay(event)} --customer cus_…`, dismiss(event)],
  unknown_checkout: (event) => [...look(event), `${replay(event)} --customer cus_…`],
  checkout_mismatch: (event) => [...look(event), `${replay(event)} --accept-amount`, dismiss(event)],
  checkout_paid_twice: (event) => [...look(event), dismiss(event)],
  bonus_too_large: (event) => [...look(event), replay(event)],
  currency_mismatch: correctWallet,
  balance_limit: correctWallet,
  handled_by_hand: correctWallet,
  manual_correction: correctWallet,
};

/**
 * A text as one word of a shell. Providers' ids are texts that came from outside, and whoever copies a command must not
 * run what stands in one.
 */
export function asWord(text: string): string {
  return /^[\w.:@%+=/-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What a command that follows has to add to be about the same merchant. */
export function otherMerchant({ MERCHANT_ID: usual }: { readonly MERCHANT_ID: string }, merchantId: string): string {
  return merchantId === usual ? '' : ` --merchant ${merchantId}`;
}
