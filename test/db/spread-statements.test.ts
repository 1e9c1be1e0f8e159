import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import type pg from 'pg';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { requireNobody } from '../../src/commands/distribute.ts';
import { ofOneMerchant, routed, SPREAD } from '../../src/db/backend.ts';
import { createPool } from '../../src/db/pool.ts';
import { type DeclaredStatement, declaredStatements } from '../../src/db/statement.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { ROOT } from '../support/cli.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { eventually } from '../support/wait.ts';

/**
 * Aim: every statement can be run where merchants' tables are spread over several nodes by merchant (docs/decisions/0050-citus.md), though this
 * machine has one Postgres. Method: the plan of its text for Citus, which says of each table whether its rows are those of one merchant,
 * known from a parameter alone; what Citus refuses or misreads shows in the plan as well.
 */

for (const folder of ['src', 'jobs'])
  for (const name of await readdir(join(ROOT, folder), { recursive: true }))
    if (name.endsWith('.ts') && (await readFile(join(ROOT, folder, name), 'utf8')).includes('statement({'))
      await import(join(ROOT, folder, name));

interface PlanNode {
  readonly 'Node Type': string;
  readonly 'Relation Name'?: string;
  readonly Operation?: string;
  readonly 'Index Cond'?: string;
  readonly 'Recheck Cond'?: string;
  readonly Filter?: string;
  readonly 'One-Time Filter'?: string;
  readonly 'Parent Relationship'?: string;
  readonly Plans?: readonly PlanNode[];
}

let database: TestDatabase;
let client: pg.PoolClient;
beforeAll(async () => {
  database = await createTestDatabase();
  client = await database.pool.connect();
  await client.query('set enable_seqscan = off');
});
afterAll(async () => {
  client?.release();
  await database?.drop();
});

async function planOf(text: string): Promise<PlanNode> {
  const { rows } = await client.query<{ 'QUERY PLAN': readonly { readonly Plan: PlanNode }[] }>(
    `explain (generic_plan, format json) ${text}`,
  );
  const [plan] = rows[0]?.['QUERY PLAN'] ?? [];
  if (plan === undefined) throw new Error('Postgres explained nothing');
  return plan.Plan;
}

function within(node: PlanNode): readonly PlanNode[] {
  return [node, ...(node.Plans ?? []).flatMap(within)];
}

const isSpread = (table: string | undefined) => SPREAD.some((one) => one === table);
const isScan = ({ 'Node Type': type }: PlanNode) => type.endsWith('Scan');
const BY_PARAMETER = /merchant_id = \$\d+\b/;

/** The scans of spread tables that find their merchant by another table's rows, or not at all. */
function unrouted(plan: PlanNode): readonly string[] {
  return within(plan).flatMap((node) => {
    const table = node['Relation Name'];
    if (!isScan(node) || table === undefined || !isSpread(table)) return [];
    const conditions = [node['Index Cond'], node['Recheck Cond'], node.Filter].join(' ');
    const below = (node.Plans ?? []).map((one) => one['Index Cond']).join(' ');
    return BY_PARAMETER.test(`${conditions} ${below}`) ? [] : [table];
  });
}

/** Terms that hold or not by the parameters alone: Citus folds what is written under them away. */
function folded(plan: PlanNode): readonly string[] {
  const nodes = within(plan);
  if (!nodes.some(({ 'Node Type': type }) => type === 'ModifyTable')) return [];
  return nodes.flatMap((node) => {
    const term = node['One-Time Filter'];
    // What is said of the merchant twice is true; what names a column depends on a row.
    return term !== undefined && /\$\d/.test(term) && !/InitPlan|SubPlan|\w\.\w|^\((\$\d+) = \1\)$/.test(term)
      ? [term]
      : [];
  });
}

/** Tables of which rows of several merchants are locked at once. */
function locked(plan: PlanNode): readonly string[] {
  return within(plan)
    .filter(({ 'Node Type': type }) => type === 'LockRows')
    .flatMap((node) =>
      within(node).flatMap((one) => (isSpread(one['Relation Name']) ? [one['Relation Name'] ?? ''] : [])),
    );
}

const COMPARING_CASE = /\bcase\s+(?!when\b)\S/;

const brief = (text: string) => text.replaceAll(/\s+/g, ' ').trim().slice(0, 140);
const isOf = ({ text }: DeclaredStatement) =>
  new RegExp(`\\b(?:from|join|into|update|using) (?:${SPREAD.join('|')})\\b`).test(text);

describe('the text that a statement has on Citus', () => {
  it('names the merchant for each table by itself', () => {
    const text = 'select from payment p join payment_part t on t.merchant_id = p.merchant_id where p.merchant_id = $2';
    expect(routed(text, '$2')).toBe(
      'select from payment p join payment_part t on (t.merchant_id = $2 and p.merchant_id = $2) where p.merchant_id = $2',
    );
    expect(routed(text, null)).toBe(text);
  });

  it('has no fence, and keeps what follows it', () => {
    const text = '(select 1 -- why\n  offset 0) x where (select 2 offset 0) = 2 offset $1';
    expect(routed(text, '$1')).toBe('(select 1 -- why\n  ) x where (select 2 ) = 2 offset $1');
  });

  it('reads a column of what is counted, or asked whether it exists, since Citus has no rows without one', () => {
    expect(routed('select not exists (select from lot) or exists (\n select from hold)', null)).toBe(
      'select not exists (select 1 from lot) or exists (\n select 1 from hold)',
    );
    expect(routed('select count(*) from (select from topup_rule limit 9) r', null)).toBe(
      'select count(*) from (select 1 from topup_rule limit 9) r',
    );
  });

  it('is about one merchant where it was about all', () => {
    expect(ofOneMerchant('select 1 from wallet w join entry using (merchant_id) -- all\n where true', '$3')).toBe(
      'select 1 from (select * from wallet where merchant_id = $3) w join (select * from entry where merchant_id = $3) entry using (merchant_id) where true',
    );
    expect(ofOneMerchant('select from source s where true', '$1')).toBe('select from source s where true');
  });
});

describe('the tables that are spread', () => {
  it('are all of merchants, but for those that tell whose a request is', async () => {
    const { rows } = await client.query<{ name: string }>(
      `select table_name::text as name from information_schema.columns
       where column_name = 'merchant_id' and table_schema = 'public' order by 1`,
    );
    const stay = ['api_key', 'merchant', 'source', 'source_account', 'source_secret'];
    expect(rows.map(({ name }) => name).filter((name) => !stay.includes(name))).toEqual([...SPREAD].toSorted());
  });
});

describe('a database that is being spread', () => {
  it("must be nobody else's meanwhile, whatever process of the service it is", async () => {
    await requireNobody(client);
    for (const applicationName of ['chokin-web', 'chokin-worker-jobs']) {
      const pool = createPool({
        databaseUrl: database.webUrl,
        applicationName,
        maxConnections: 1,
        logger: createLogger('silent', 'test'),
      });
      await pool.query('select 1');
      await expect(requireNobody(client)).rejects.toThrow(
        `let every process of the service stop first: ${applicationName} `,
      );
      await pool.end();
      await eventually('it to be gone', () =>
        requireNobody(client).then(
          () => true,
          () => false,
        ),
      );
    }
  });
});

describe('every statement on tables that are spread', () => {
  it('is routed to one node, each of its tables by the merchant that it names', async () => {
    const found: string[] = [];
    for (const one of declaredStatements())
      if (one.namesMerchant && isOf(one))
        for (const table of unrouted(await planOf(one.textOnCitus))) found.push(`${table} in ${brief(one.text)}`);
    expect(found).toEqual([]);
  });

  it('writes whatever its parameters are', async () => {
    const found: string[] = [];
    for (const one of declaredStatements())
      for (const term of folded(await planOf(one.textOnCitus))) found.push(`${term} in ${brief(one.text)}`);
    expect(found).toEqual([]);
  });

  it('locks rows of one merchant alone', async () => {
    const found: string[] = [];
    for (const one of declaredStatements())
      if (!one.namesMerchant)
        for (const table of locked(await planOf(one.textOnCitus))) found.push(`${table} in ${brief(one.text)}`);
    expect(found).toEqual([]);
  });

  it('puts no function that depends on settings on a column that it writes', () => {
    const writes = /\bupdate (?:\w+ )?(?:\w+ )?set [\s\S]*?\b(?:concat_ws|jsonb_build_object|to_jsonb|concat)\(/;
    // What a time comes to an interval later depends on the time zone that is set, unless the time is one of UTC.
    const moves =
      /\bupdate [\s\S]*?\bset [\s\S]*?(?:now\(\)|\w+_at) [-+] (?:interval|make_interval\(secs => [a-z_]+\.)/;
    const found = declaredStatements().filter(
      (one) => isOf(one) && (writes.test(one.textOnCitus) || moves.test(one.textOnCitus)),
    );
    expect(found.map(({ text }) => brief(text))).toEqual([]);
  });

  // Citus has a node read the rows that are to be inserted from what it sent there, and leaves out the types of parameters that stand there alone.
  it('has no parameter in what an insert of selected rows does besides inserting them', () => {
    const END = /\),\s+\w+ as (?:materialized )?\(|\)\s+select\b/;
    const found = declaredStatements().filter(({ textOnCitus }) =>
      textOnCitus
        .split(/\binsert into /)
        .slice(1)
        .map((insert) => insert.split(END)[0]?.split(/\bon conflict\b/) ?? [])
        .some(([rows = '', besides = '']) => /\bselect\b/.test(rows) && /\$\d/.test(besides)),
    );
    expect(found.map(({ text }) => brief(text))).toEqual([]);
  });

  // Citus writes the rows that it locked in one format, and reads them in another where an insert within WITH has them.
  it('inserts within WITH nothing beside rows that WITH has locked', () => {
    const found = declaredStatements().filter(
      ({ textOnCitus: sql }) =>
        /\bfor (?:no key |key )?(?:update|share)\b/.test(sql) && /\bas (?:materialized )?\(\s*insert into\b/.test(sql),
    );
    expect(found.map(({ text }) => brief(text))).toEqual([]);
  });

  it('has a column in each selection within it', () => {
    const found = declaredStatements().filter(
      (one) => isOf(one) && /\(\s*(?:--.*\s*)*select\s+from\b|\bunion (?:all )?select\s+from\b/.test(one.textOnCitus),
    );
    expect(found.map(({ text }) => brief(text))).toEqual([]);
  });

  // A node is sent what the planner made of a CASE that compares one value with several, which may read in another way or not at all.
  it('compares in each case of a CASE by itself', () => {
    const found = declaredStatements().filter((one) => isOf(one) && COMPARING_CASE.test(one.textOnCitus));
    expect(found.map(({ text }) => brief(text))).toEqual([]);
    expect(COMPARING_CASE.test('case p.key_version when 1 then 2 end')).toBe(true);
    expect(COMPARING_CASE.test('case jsonb_typeof(j.data)\n when $1 then 2 end')).toBe(true);
    expect(COMPARING_CASE.test('case when a then case\n when b then 1 end end')).toBe(false);
  });

  it('walks no index from merchant to merchant', () => {
    const found = declaredStatements().filter(
      (one) => isOf(one) && !one.namesMerchant && /with recursive/.test(one.textOnCitus),
    );
    expect(found.map(({ text }) => brief(text))).toEqual([]);
  });

  it('is judged so, and the next one that is not is found', async () => {
    const own =
      'select from payment p join payment_part t using (merchant_id, source_id, payment_id) where p.merchant_id = $1';
    expect(unrouted(await planOf(own))).toEqual([]);
    const others =
      'select from payment p, lateral (select from entry e where e.merchant_id = p.merchant_id limit 1) x where p.merchant_id = $1';
    expect(unrouted(await planOf(others))).toEqual(['entry']);
    const folds = `update payment set heard_of = true where merchant_id = $1 and $2::text = 'api'`;
    expect(folded(await planOf(folds))).toEqual(["($2 = 'api'::text)"]);
    expect(locked(await planOf('select from wallet order by merchant_id for update'))).toEqual(['wallet']);
  });
});
