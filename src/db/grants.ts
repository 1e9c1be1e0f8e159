/**
 * What each process may do to each table, and nothing else. `npm run migrate` applies it (roles.ts), and a test holds it
 * against the database: a new table wants its row here, be it an empty one.
 */

export const RUNTIME_ROLES = ['chokin_web', 'chokin_worker'] as const;

export type RuntimeRole = (typeof RUNTIME_ROLES)[number];

/** Privileges as GRANT takes them; empty for none. */
export interface TableGrants {
  /** With its schema. */
  readonly table: string;
  readonly privileges: Readonly<Record<RuntimeRole, string>>;
}

// What was received never changes, only what became of it does.
const REPLAY =
  'update (state, reason, detail, settled_at, replays, assigned_customer_id, assigned_link, accepts_amount, is_closed)';
const VERDICT = 'update (state, reason, detail, effect, settled_at, payment_id, waiting_since, source_id, is_closed)';
const TOKEN_USE = 'update (used_source_id, used_payment_id, used_at, series_id, is_followed)';
// Which entries a message tells of is noted later where it was not known.
const ENTRIES = 'update (customer_id, currency, first_seq, last_seq)';

// biome-ignore format: a table is read down its columns
const GRANTS: readonly (readonly [table: string, web: string, worker: string])[] = [
  //                             chokin_web                          chokin_worker
  ['public.merchant',            'select, insert, update',           'select'],
  ['public.api_key',             'select, insert, update',           ''],
  ['public.source',              'select, insert, update',           'select'],
  ['public.source_secret',       'select, insert, delete, update (keyed_hash)', 'select'],
  ['public.source_account',      'select, insert, delete, update (is_shared)', 'select, insert, update, delete'],
  ['public.source_adoption',     'select',                           'select, insert, update, delete'],
  ['public.customer',            'select, insert, update',           'select, insert'],
  ['public.customer_link',       'select, insert, update, delete',   'select, insert, update, delete'],

  ['public.erased_link',         'select, insert, update, delete',   'select, update'],
  ['public.customer_erasure',    'select, insert, update',           'select, update'],

  // History is written once. The triggers say so again, to the owner too.
  ['public.entry',               'select, insert',                   'select, insert'],
  ['public.erasure',             'select',                           'select'],
  ['public.wallet_alert',        'insert',                           'select, insert'],
  ['public.wallet',              'select, insert, update',           'select, insert, update'],
  ['public.hold',                'select, insert, update, delete',   'select, insert, update, delete'],
  ['public.closed_hold',         'select, insert',                   'select, insert'],
  ['public.hold_capture',        'select, insert',                   'select, insert'],
  ['public.lot',                 'select, insert, update, delete',   'select, insert, update, delete'],
  ['public.closed_lot',          'select, insert',                   'select, insert'],
  ['public.lot_movement',        'select, insert',                   'select, insert'],
  ['public.lot_change',          'select, insert',                   'select, insert'],
  ['public.wallet_status_change', 'select, insert',                  'select, insert'],
  ['public.wallet_due',          'select, insert, update, delete',   'select, insert, update, delete'],
  ['public.topup_rule',          'select, insert, update',           'select, insert, update'],
  ['public.topup',               'select, insert, update',           'select, insert, update'],
  ['public.topup_due',           'select, insert, update, delete',   'select, insert, update, delete'],
  ['public.checkout',            'select, insert, update',           'select, update'],
  ['public.checkout_due',        'select, insert, update, delete',   'select, update, delete'],
  ['public.unannounced_wallet',  'select, insert, delete, update (trace_parent)', 'select, insert, update, delete'],
  ['public.scheduled_entry',     'select, insert, update',           'select, update'],
  ['public.grant_schedule',      'select, insert, update',           'select, update'],
  ['public.audit_mark',          '',                                 'select, insert, update'],
  ['public.audit_rule',          '',                                 'select, insert, update'],
  ['public.audit_finding',       '',                                 'select, insert, delete'],
  ['public.audit_run',           'select',                           'select, insert, delete'],

  ['public.provider_event',      `select, insert, ${REPLAY}`,        `select, insert, ${VERDICT}`],
  ['public.payment',             'select, update (customer_id, moves, updated_at, bonus_lost, bonus_lost_before)', 'select, insert, update, delete'],
  // On Citus no key moves it along with its payment.
  ['public.payment_move',        'select, insert',                   'select, update (source_id)'],
  ['public.payment_part',        'select, update (hold_wanted, hold_no, holds)', 'select, insert, update'],
  ['public.payment_movement',    'select',                           'select, insert, update'],
  ['public.payment_group',       'select, insert, update (payment_ids)', 'select, insert, update, delete'],
  ['public.payment_token',       'select, insert, update (revoked_at)', `select, delete, ${TOKEN_USE}`],
  ['public.bonus_rule',          'select, insert, update, delete',   'select'],
  ['public.handled_movement',    'select, insert, update',           'select, insert, update'],
  ['public.reconciliation',      'select, insert',                   'select, insert, update, delete'],
  ['public.reconciliation_item', 'select',                           'select, insert, update, delete'],
  ['public.reconciliation_source', '',                               'select, insert, update, delete'],

  ['public.webhook_endpoint',    'select, insert, update, delete',   'select, update'],
  ['public.webhook_older_secret', 'select, insert, delete',          'select'],
  ['public.webhook_endpoint_headers', 'select, insert, update, delete', 'select'],
  ['public.webhook_recovery',    'select, insert',                   'select, update, delete'],
  ['public.webhook_message',     'select, insert, delete, update (trace_parent)',       `select, insert, delete, ${ENTRIES}`],
  ['public.webhook_delivery',    'select, insert, update, delete',   'select, insert, update, delete'],
  ['public.webhook_attempt',     'select',                           'insert'],
  ['public.svix_message',        `select, insert, ${ENTRIES}`,       `select, insert, delete, ${ENTRIES}`],
  ['public.svix_merchant',       'insert',                           'select, insert, update'],
  ['public.svix_endpoint',       'select, insert, update, delete',   'select, insert, update'],
  ['public.unsent_message',      'select, insert',                   'select, insert, update, delete'],

  // The web process makes jobs; the worker runs them, keeps the schedule, and makes the queue by which pg-boss does.
  ['pgboss.version',             'select',                           'select, update'],
  ['pgboss.queue',               'select',                           'select, insert, update'],
  ['pgboss.job',                 'select',                           'select, insert, update'],
  ['pgboss.job_common',          'select, insert',                   'select, insert, update, delete'],
  ['pgboss.job_dependency',      '',                                 'select, delete'],
  ['pgboss.schedule',            '',                                 'select, insert, update'],

  ['public.installation',        'select',                           'select'],
  ['public.installation_home',   '',                                 'select, insert'],
  ['public.key_warning',         'select, insert, delete',           'select'],
  ['public.rate_limit',          'select, insert, update, delete',   ''],
  // The audit asks of which release the database is.
  ['public.schema_migration',    'select',                           'select'],

  // What migrations and features of pg-boss that we do not use keep for themselves.
  ['pgboss.bam',                 '',                                 ''],
  ['pgboss.queue_stats',         '',                                 ''],
  ['pgboss.subscription',        '',                                 ''],
  ['pgboss.warning',             '',                                 ''],
];

export const TABLE_GRANTS: readonly TableGrants[] = GRANTS.map(([table, web, worker]) => ({
  table,
  privileges: { chokin_web: web, chokin_worker: worker },
}));

/** Functions that run as the owner, and do the little that no grant can allow alone; nobody else may call them. */
export const FUNCTION_GRANTS: readonly {
  /** With the types of its parameters. */
  readonly name: string;
  readonly roles: readonly RuntimeRole[];
}[] = [
  { name: 'public.take_bodies_away(text, text[], bytea[], jsonb[])', roles: ['chokin_web', 'chokin_worker'] },
  {
    name: 'public.erase_entry_texts(text, text, text, bigint[], bytea[], bytea[])',
    roles: ['chokin_web', 'chokin_worker'],
  },
  { name: 'public.erase_hold_texts(text, text, text, bigint[])', roles: ['chokin_web', 'chokin_worker'] },
  { name: 'public.erase_lot_texts(text, text, text, bigint[])', roles: ['chokin_web', 'chokin_worker'] },
  { name: 'public.erase_status_texts(text, text, text, bigint[])', roles: ['chokin_web', 'chokin_worker'] },
  { name: 'public.forget_ignored_events(text, timestamp with time zone, bigint)', roles: ['chokin_worker'] },
  { name: 'public.forget_old_alerts(text, timestamp with time zone, bigint)', roles: ['chokin_worker'] },
  { name: 'public.refresh_statistics(regclass)', roles: ['chokin_worker'] },
];

/** Everything a role is granted, as SQL; repeating it changes nothing. What it was granted before is taken back first. */
export function grantStatements(role: RuntimeRole): readonly string[] {
  const tables = TABLE_GRANTS.map(({ table }) => table).join(', ');
  const functions = FUNCTION_GRANTS.map(({ name }) => name).join(', ');
  return [
    `revoke all on ${tables} from ${role}`,
    // A dump that was restored without its rights lets everybody call them.
    `revoke all on function ${functions} from public, ${role}`,
    `grant usage on schema public, pgboss to ${role}`,
    ...TABLE_GRANTS.filter(({ privileges }) => privileges[role] !== '').map(
      ({ table, privileges }) => `grant ${privileges[role]} on ${table} to ${role}`,
    ),
    ...FUNCTION_GRANTS.filter(({ roles }) => roles.includes(role)).map(
      ({ name }) => `grant execute on function ${name} to ${role}`,
    ),
  ];
}
