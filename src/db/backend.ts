/** What Postgres it is: one server, or a coordinator of Citus over which merchants' tables are spread (npm run distribute). */
export type Backend = 'postgres' | 'citus';

export const BACKENDS = ['postgres', 'citus'] as const satisfies readonly Backend[];

let chosen: Backend = 'postgres';

/** Of the whole process, said once at its start (DATABASE_BACKEND), before any statement is run. */
export function chooseBackend(backend: Backend): void {
  chosen = backend;
}

/** The one place that everybody asks who does something in another way on Citus. */
export function onCitus(): boolean {
  return chosen === 'citus';
}

const SAME_MERCHANT = /\b([a-z_]+)\.merchant_id = ([a-z_]+)\.merchant_id\b(?: \|\| '')?/g;
const FENCE = /\boffset 0(?=\s*\))/g;
/** What keeps the planner of one Postgres from an index that begins with the merchant. */
const HIDDEN_MERCHANT = /\(([a-z_]+\.merchant_id = \$\d+)\) is true/g;
/** Of rows without a column, the coordinator cannot read what it had a node note. */
const NO_COLUMN = /\(\s*select(?=\s+from\b)/g;

/**
 * The text of a statement about one merchant, as Citus routes it to the node that has him: it must see of each table by itself whose rows are
 * wanted, while one Postgres is told so once, and the other tables are joined. OFFSET 0, which keeps the planner of one Postgres from plans that a
 * growing table makes slow, would hide it; on the nodes of Citus every statement is planned for its own values.
 * @param merchant the place of the merchant, such as `$1`; null for a statement about several
 */
export function routed(text: string, merchant: string | null): string {
  const open = text.replaceAll(FENCE, '').replaceAll(HIDDEN_MERCHANT, '$1').replaceAll(NO_COLUMN, '$& 1');
  if (merchant === null) return open;
  return open.replaceAll(
    SAME_MERCHANT,
    (_, one, other) => `(${one}.merchant_id = ${merchant} and ${other}.merchant_id = ${merchant})`,
  );
}

/**
 * The tables that are spread by merchant. Others hold a few rows for each merchant and tell whose a request is, or are of the service itself:
 * they stay with the coordinator. `merchant` is on every node.
 */
export const SPREAD = [
  ...[
    'audit_mark',
    'bonus_rule',
    'checkout',
    'checkout_due',
    'closed_hold',
    'closed_lot',
    'customer',
    'customer_erasure',
    'customer_link',
    'entry',
  ],
  ...[
    'erased_link',
    'erasure',
    'grant_schedule',
    'handled_movement',
    'hold',
    'hold_capture',
    'key_warning',
    'lot',
    'lot_change',
  ],
  ...['lot_movement', 'payment', 'payment_group', 'payment_move', 'payment_movement', 'payment_part', 'payment_token'],
  ...[
    'provider_event',
    'reconciliation',
    'reconciliation_item',
    'reconciliation_source',
    'scheduled_entry',
    'source_adoption',
  ],
  ...[
    'svix_endpoint',
    'svix_merchant',
    'svix_message',
    'topup',
    'topup_due',
    'topup_rule',
    'unannounced_wallet',
    'unsent_message',
  ],
  ...[
    'wallet',
    'wallet_alert',
    'wallet_due',
    'wallet_status_change',
    'webhook_attempt',
    'webhook_delivery',
    'webhook_endpoint',
  ],
  ...['webhook_endpoint_headers', 'webhook_message', 'webhook_older_secret', 'webhook_recovery'],
] as const;

/** What may follow a table that has no alias. */
const AFTER =
  'where|on|using|join|cross|left|right|inner|full|group|order|limit|offset|union|except|intersect|having|for';
const READ = new RegExp(`\\b(from|join) (${SPREAD.join('|')})\\b(?: (?!(?:${AFTER})\\b)([a-z]\\w*))?`, 'g');

/** A reading of all merchants as one of the merchant of this place alone, each table by itself. */
export function ofOneMerchant(text: string, merchant: string): string {
  return text
    .replaceAll(/--.*$/gm, '')
    .replaceAll(/\s+/g, ' ')
    .replaceAll(
      READ,
      (_, word, table, alias) => `${word} (select * from ${table} where merchant_id = ${merchant}) ${alias ?? table}`,
    );
}
