import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { FUNCTION_GRANTS } from '../../src/db/grants.ts';
import { type DeclaredStatement, declaredStatements } from '../../src/db/statement.ts';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT } from '../support/ledger.ts';

/**
 * Aim: no statement of the program grows with the square of a table, even where Postgres has never looked at it.
 * Method: 100,000 rows in every table that grows, none analysed; then the plan of each statement, which is not run, as the pool
 * of the jobs gets it and as that of the audit does (src/db/pool.ts). A join that reads both sides whole, the inner one again for each row of
 * the outer one, is refused. What retention looks for has to be found by an index that begins with the oldest.
 */

const ROWS = 100_000;

let database: TestDatabase;
let client: pg.PoolClient;

for (const folder of ['src', 'jobs'])
  for (const name of await readdir(join(ROOT, folder), { recursive: true }))
    if (name.endsWith('.ts') && (await readFile(join(ROOT, folder, name), 'utf8')).includes('statement({'))
      await import(join(ROOT, folder, name));

/** The columns that a table's rows may all share: who looks by these alone reads all of it. */
const SHARED: ReadonlySet<string> = new Set([
  'merchant_id',
  'source_id',
  'provider',
  'state',
  'name',
  'currency',
  'run_id',
  'kind',
]);

/** What fills a table, in the order of its columns here; everything else is left to its default. */
const FILLED: readonly (readonly [table: string, columns: string])[] = [
  ['customer', `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, '' email, '' name, now() created_at`],
  ['wallet', `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, now() created_at, now() updated_at`],
  [
    'entry',
    `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, 1 seq, 5 amount, true is_credit, 'payment' event_type,
     0 before_balance, 5 after_balance, 'src_stripe:payment:pi_' || n idempotency_key, decode(repeat('ab', 32), 'hex') fingerprint, now() created_at`,
  ],
  [
    'provider_event',
    `'evt_' || n event_id, '${MERCHANT}' merchant_id, 'src_stripe' source_id, 'stripe' provider, 'evt_' || n delivery_key, 'x' event_type,
     decode(repeat('ab', 200), 'hex') body, (array['applied', 'pending', 'waiting', 'ignored'])[1 + n % 4] state, 'pi_' || n payment_id,
     now() received_at, now() settled_at, now() waiting_since`,
  ],
  [
    'payment',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'pi_' || n payment_id, 'stripe' provider, 'auto' refunds, 'succeeded' state,
     'cus_' || n customer_id, 'USD' currency, 5 amount_paid, 5 posted_credit, 1 postings, 2 key_version, now() created_at, now() updated_at`,
  ],
  [
    'payment_part',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'pi_' || n payment_id, 'refund' kind, 're_' || n part_id, 0 ordinal,
     'pending' state, now() created_at, now() updated_at`,
  ],
  [
    'payment_movement',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'pi_' || n payment_id, 'capture' kind, 'cap_' || n movement_id, 'succeeded' state,
     5 amount, '[]'::jsonb told, now() created_at, now() updated_at`,
  ],
  [
    'payment_move',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'pi_' || n payment_id, 1 move, 'cus_' || n from_customer_id, 'cus_0' to_customer_id,
     5 net, 'USD' currency, 1 entries, 'api' actor, 'x' reason, now() created_at`,
  ],
  [
    'customer_link',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'cus_s_' || n provider_customer_id, 'cus_' || n customer_id, 'payment' cause, now() created_at`,
  ],
  [
    'wallet_alert',
    `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, 1 alert_seq, 'low' kind, 5 balance, 1 version, now() created_at`,
  ],
  [
    'webhook_message',
    `'${MERCHANT}' merchant_id, 'msg_' || n message_id, 'wallet.balance.changed' event_type, '{}' payload, now() created_at,
     'cus_' || n customer_id, 'USD' currency, 1 last_seq`,
  ],
  ['webhook_delivery', `'${MERCHANT}' merchant_id, 'msg_' || n message_id, 'ep_1' endpoint_id, 'delivered' state`],
  [
    'webhook_attempt',
    `'${MERCHANT}' merchant_id, 'att_' || n attempt_id, 'msg_' || n message_id, 'ep_1' endpoint_id, 5 duration_ms, now() created_at`,
  ],
  [
    'scheduled_entry',
    `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'sen_' || n scheduled_entry_id, 'USD' currency, 5 amount, true is_credit,
     now() post_at, 'skip' on_shortfall, 'api:' || n idempotency_key, decode(repeat('ab', 32), 'hex') fingerprint, 'cli' actor,
     'scheduled' state, now() due_at, 0 tries, now() created_at`,
  ],
  [
    'grant_schedule',
    `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, 's' schedule_id, 1 incarnation, 5 amount, 'month' every,
     now() anchor_at, 'UTC' time_zone, 50 lot_priority, 0 first_period, 0 done, now() next_at, false paused, 'cli' actor, now() created_at,
     now() updated_at`,
  ],
  ['unannounced_wallet', `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, now() since`],
  [
    'svix_message',
    `'${MERCHANT}' merchant_id, 'msg_' || n message_id, 'msg_s_' || n svix_message_id, 'wallet.balance.changed' event_type,
     'cus_' || n customer_id, 'USD' currency, 1 last_seq, now() sent_at`,
  ],
  [
    'unsent_message',
    `'${MERCHANT}' merchant_id, 'msg_' || n message_id, 'webhook.test' event_type, '{}' payload, now() since`,
  ],
  [
    'payment_token',
    `'${MERCHANT}' merchant_id, sha256(n::text::bytea) token_hash, 'cus_' || n customer_id, 'topup' purpose, 'USD' currency, now() created_at,
     now() expires_at`,
  ],
  [
    'handled_movement',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'pi_' || n payment_id, 'evt_' || n event_id, 0 ordinal, '{}'::jsonb fact,
     now() handled_at`,
  ],
  [
    'payment_group',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, 'grp_' || n group_id, array['pi_' || n] payment_ids, now() created_at`,
  ],
  [
    'reconciliation_item',
    `'${MERCHANT}' merchant_id, 'rec_1' run_id, 'payment' kind, 'pi_' || n object_id, 'missing' outcome, 'evt_' || n event_id, now() found_at`,
  ],
  [
    'erasure',
    `'${MERCHANT}' merchant_id, 'cus_' || n customer_id, 'USD' currency, 1 seq, sha256(n::text::bytea) reason_hash, now() erased_at`,
  ],
  [
    'erased_link',
    `'${MERCHANT}' merchant_id, 'src_stripe' source_id, sha256(n::text::bytea) provider_customer_hash, 'cus_' || n customer_id,
     'payment' cause, now() created_at`,
  ],
  ['pgboss.job_common', `'apply-provider-event' name, jsonb_build_object('eventId', 'evt_' || n) data`],
];

/** A plan names tables without their schema. */
function bare(table: string): string {
  return table.replace('pgboss.', '');
}

beforeAll(async () => {
  database = await createTestDatabase();
  client = await database.pool.connect();
  await client.query("set session_replication_role = 'replica'");
  // Where the machine is busy the rows take longer to write than any request may.
  await client.query('set statement_timeout = 0');
  for (const [table, columns] of FILLED) {
    const view = `rows_of_${bare(table)}`;
    await client.query(`alter table ${table} set (autovacuum_enabled = off)`);
    await client.query(`create temporary view ${view} as select ${columns} from generate_series(1, ${ROWS}) n`);
    const names = await client.query<{ names: string }>(
      "select string_agg(attname, ', ' order by attnum) as names from pg_attribute where attrelid = $1::regclass and attnum > 0",
      [view],
    );
    await client.query(`insert into ${table} (${names.rows[0]?.names}) select * from ${view}`);
  }
}, 300_000);

afterAll(async () => {
  client?.release();
  await database?.drop();
});

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Parent Relationship'?: string;
  readonly 'Subplan Name'?: string;
  readonly 'Relation Name'?: string;
  /** Of an aggregate. */
  readonly Strategy?: string;
  readonly 'Index Name'?: string;
  readonly 'Index Cond'?: string;
  readonly 'Merge Cond'?: string;
  readonly 'Hash Cond'?: string;
  readonly Plans?: readonly PlanNode[];
}

const isLarge = (name: string | undefined) => FILLED.some(([table]) => bare(table) === name);

/** Holds what the release before told alone; nothing is added to it. */
const STAYS_SMALL = 'webhook_message_unnoted';

/** Whether rows of a table are many by the columns of a condition, as all that one merchant has are. */
const isShared = (condition: string, shared: ReadonlySet<string>) =>
  [...condition.matchAll(/(?:\(| |\.)([a-z_]+)(?:\)::\w+)? = /g)].every(([, name = '']) => shared.has(name));

/** Whether a node reads a large table, or all of it that one merchant has, whatever it is joined with. */
function readsWhole(node: PlanNode, shared: ReadonlySet<string>): boolean {
  if (!isLarge(node['Relation Name']) || node['Index Name'] === STAYS_SMALL) return false;
  if (node['Node Type'] === 'Seq Scan') return true;
  if (!node['Node Type'].startsWith('Index') && node['Node Type'] !== 'Bitmap Heap Scan') return false;
  const bitmap = (node.Plans ?? []).flatMap((plan) => plan['Index Cond'] ?? []);
  return [node['Index Cond'] ?? '', ...bitmap].every((condition) => isShared(condition, shared));
}

/** What is summed up is joined as the few rows that it makes. */
const unsummed = (node: PlanNode): readonly PlanNode[] =>
  node['Node Type'] === 'Aggregate' ? [] : [node, ...(node.Plans ?? []).flatMap(unsummed)];

/** What is counted or summed up as a whole is one row. */
const ofManyRows = (node: PlanNode): readonly PlanNode[] =>
  node.Strategy === 'Plain' ? [] : [node, ...(node.Plans ?? []).flatMap(ofManyRows)];

const within = (node: PlanNode): readonly PlanNode[] => [node, ...(node.Plans ?? []).flatMap(within)];

/** The large tables that are read whole again and again, as `outer × inner`. */
function squares(root: PlanNode, shared = SHARED): readonly string[] {
  const text = JSON.stringify(root);
  const isWhole = (node: PlanNode) => readsWhole(node, shared);
  const found: string[] = [];
  for (const node of within(root)) {
    const isLoop = node['Node Type'] === 'Nested Loop';
    const side = (which: string, rows: typeof within) =>
      (node.Plans ?? []).filter((plan) => plan['Parent Relationship'] === which).flatMap(rows);
    const outer = side('Outer', isLoop ? ofManyRows : unsummed);
    const inner = side('Inner', isLoop ? within : unsummed);
    const name = (one: PlanNode) => `${one['Relation Name']}`;
    const condition = node['Merge Cond'] ?? node['Hash Cond'];
    const isMany = condition === undefined ? isLoop : isShared(condition, shared);
    if (isMany) {
      const whole = inner.find(isWhole);
      const many = outer.find(isWhole);
      if (whole !== undefined && many !== undefined) found.push(`${name(many)} × ${name(whole)}`);
    }
    for (const plan of node.Plans ?? []) {
      const isHashed = text.includes(`hashed ${plan['Subplan Name']}`);
      if (plan['Parent Relationship'] !== 'SubPlan' || isHashed) continue;
      const whole = within(plan).find(isWhole);
      if (whole !== undefined && isWhole(node)) found.push(`${name(node)} × ${name(whole)}`);
    }
  }
  return found;
}

async function planOf({ text }: Pick<DeclaredStatement, 'text'>): Promise<PlanNode> {
  // A bound that is not known is taken for a tenth of the table; those of the program are small.
  const explained = text.replaceAll(
    /limit \$\d+/g,
    (limit) => `limit case when ${limit.slice(6)}::bigint > 0 then 20 else 20 end`,
  );
  const { rows } = await client.query<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
    `explain (generic_plan, format json) ${explained}`,
  );
  const [plan] = rows[0]?.['QUERY PLAN'] ?? [];
  if (plan === undefined) throw new Error('Postgres explained nothing');
  return plan.Plan;
}

it('judges by a plan what would be read again and again', async () => {
  const every = `select from payment p where exists (
    select from provider_event e where e.source_id = p.source_id and e.event_type || '' = p.payment_id offset 0)`;
  expect(squares(await planOf({ text: every }))).toEqual(['payment × provider_event']);
  const keyed = 'select from payment p join provider_event e using (merchant_id, source_id, payment_id)';
  expect(squares(await planOf({ text: keyed }))).toEqual([]);
  const { rows } = await client.query("select reltuples from pg_class where relname in ('payment', 'entry')");
  expect(rows).toEqual([{ reltuples: -1 }, { reltuples: -1 }]);
});

it('reads no large table once for each row of another, whatever Postgres knows of them', async () => {
  const found: string[] = [];
  for (const seqscan of ['off', 'on']) {
    await client.query(`set enable_seqscan = ${seqscan}`);
    for (const declared of declaredStatements()) {
      const plan = await planOf(declared);
      found.push(
        ...squares(plan).map((square) => `${square} in ${declared.text.replaceAll(/\s+/g, ' ').slice(0, 160)}`),
      );
    }
  }
  expect(found).toEqual([]);
});

/** The statements within a function that runs as its owner, which no plan of its caller shows. */
async function statementsOf(name: string): Promise<readonly string[]> {
  const { rows } = await client.query<{ source: string; names: string[]; types: string[] }>(
    `select prosrc as source, proargnames as names, array(select format_type(t, null) from unnest(proargtypes) t) as types
     from pg_proc where oid = $1::regprocedure`,
    [name],
  );
  const [{ source, names, types } = { source: '', names: [], types: [] }] = rows;
  const placed = names.reduce(
    (text, parameter, index) =>
      text.replaceAll(new RegExp(`\\b${parameter}\\b`, 'g'), `$${index + 1}::${types[index]}`),
    source.replaceAll(/--.*$/gm, ''),
  );
  const whole = placed.split(';').filter((one) => /^\s*with /.test(one));
  return whole.length > 0 ? whole : (placed.match(/(?:insert into|update) [^;]+/g) ?? []);
}

it('reads none so in the functions of the owner either', async () => {
  const found: string[] = [];
  let statements = 0;
  for (const { name } of FUNCTION_GRANTS) {
    // A page of one wallet must not read all of the wallet for each of its entries.
    const shared = name.includes('erase_entry_texts') ? new Set([...SHARED, 'customer_id']) : SHARED;
    for (const text of await statementsOf(name)) {
      statements += 1;
      found.push(...squares(await planOf({ text }), shared).map((square) => `${square} in ${name}`));
    }
  }
  expect(found).toEqual([]);
  expect(statements).toBe(8);
});

/** What retention looks for, as its statements say it, and the index that has the oldest first. */
const FORGOTTEN: readonly (readonly [what: RegExp, index: string, age: string])[] = [
  [/'ignored' .* settled_at </s, 'provider_event_to_forget', 'settled_at'],
  [/'applied' and e.body_removed_at is null and e.settled_at </, 'provider_event_to_forget', 'settled_at'],
  [/from webhook_message m\s+where m.merchant_id = \S+ and m.created_at </, 'webhook_message_newest', 'created_at'],
  [/from wallet_alert a\s.* a.created_at </s, 'wallet_alert_oldest', 'created_at'],
];

it('finds what is old enough to be forgotten by its age', async () => {
  const functions = await Promise.all(FUNCTION_GRANTS.map(({ name }) => statementsOf(name)));
  const texts = [...declaredStatements().map(({ text }) => text), ...functions.flat()];
  for (const [what, index, age] of FORGOTTEN) {
    const found = texts.filter((text) => what.test(text));
    expect(found, `${what}`).not.toEqual([]);
    for (const text of found) {
      const oldest = within(await planOf({ text })).find((node) => node['Index Name'] === index);
      expect(oldest?.['Index Cond'], text).toContain(`${age} < `);
    }
  }
});

it('finds a refund or dispute by its id alone', async () => {
  const found = declaredStatements().filter(({ text }) =>
    /from payment_part t\s+where .* t.part_id = asked.id/s.test(text),
  );
  expect(found).toHaveLength(1);
  for (const seqscan of ['off', 'on']) {
    await client.query(`set enable_seqscan = ${seqscan}`);
    for (const declared of found) {
      const nodes = within(await planOf(declared)).filter((node) => node['Relation Name'] === 'payment_part');
      expect(nodes.map((node) => node['Index Name'])).toEqual(['payment_part_by_id']);
      expect(nodes[0]?.['Index Cond']).toContain('part_id = asked.id');
    }
  }
});

it('finds the refunds and disputes that are asked for again among those that are open or hold money', async () => {
  const found = declaredStatements().filter(({ text }) => /\shold_no is not null\s.*\sunion\s/s.test(text));
  expect(found).toHaveLength(1);
  await client.query('set enable_seqscan = on');
  for (const declared of found) {
    const nodes = within(await planOf(declared)).filter((node) => node['Relation Name'] === 'payment_part');
    expect(nodes.map((node) => node['Index Name']).sort()).toEqual(['payment_part_holding', 'payment_part_open']);
  }
});
