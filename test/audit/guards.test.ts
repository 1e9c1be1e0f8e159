import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { checkGuards, GUARDS_FILE, readGuards } from '../../src/audit/guards.ts';
import { onCitus } from '../../src/db/backend.ts';
import { autocommit, Tx } from '../../src/db/transaction.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { alterTable } from '../support/tampering.ts';

let database: TestDatabase;

beforeAll(async () => {
  database = await createTestDatabase();
});

afterAll(() => database.drop());

/** What the audit names once a statement was run by the owner, or by an administrator; both undone. */
async function guardsAfter(statement: string): Promise<string[]> {
  const client = await database.pool.connect();
  try {
    await client.query('begin');
    await alterTable(client, statement);
    const found = await checkGuards(new Tx(client));
    return found.map(({ subject, detail }) => `${subject}: ${detail}`);
  } finally {
    await client.query('rollback');
    client.release();
  }
}

describe('the guards of the database', () => {
  it.skipIf(onCitus())('are those that the migrations make: vitest -u notes what a new migration changes', async () => {
    const guards = await readGuards(autocommit(database.pool));
    await expect(`${guards.join('\n')}\n`).toMatchFileSnapshot(GUARDS_FILE);
  });

  it('are all there', async () => {
    expect(await checkGuards(autocommit(database.pool))).toEqual([]);
  });

  it.each([
    ['a trigger dropped', 'drop trigger entry_is_insert_only on entry', /entry_is_insert_only.*: it is gone/],
    [
      'a trigger off',
      'alter table entry disable trigger entry_is_insert_only',
      /entry_is_insert_only.*\(off.*does not make it/,
    ],
    [
      'every trigger off',
      'alter table wallet disable trigger all',
      /foreign key .* is not enforced by its trigger on wallet/,
    ],
    [
      'a trigger for one column alone',
      `drop trigger entry_is_insert_only_but_for_erasure on entry;
       create trigger entry_is_insert_only_but_for_erasure before update of amount on entry
         for each row execute function refuse_change_but_erasure()`,
      /BEFORE UPDATE OF amount/,
    ],
    [
      'a function emptied',
      'create or replace function refuse_change() returns trigger language plpgsql as $$ begin return null; end $$',
      /function refuse_change\(\) in plpgsql: [0-9a-f]{64}: this release does not make it/,
    ],
    [
      'one more trigger',
      `create function bonus() returns trigger language plpgsql as $$ begin new.balance = new.balance + 1; return new; end $$;
       create trigger bonus before update on wallet for each row execute function bonus()`,
      /TRIGGER bonus .*: this release does not make it/,
    ],
    ['a rule', 'create rule nothing as on insert to wallet_alert do instead nothing', /rule nothing on wallet_alert/],
    [
      'a check dropped',
      'alter table entry drop constraint entry_overdraft',
      /constraint entry\.entry_overdraft CHECK.*it is gone/,
    ],
    [
      'a check widened',
      'alter table entry drop constraint entry_overdraft; alter table entry add constraint entry_overdraft check (true)',
      /entry_overdraft CHECK \(true\): this release does not make it/,
    ],
    [
      'a check that old rows need not pass',
      `alter table entry drop constraint entry_adds_up;
       alter table entry add constraint entry_adds_up check (after_balance = before_balance + case when is_credit then amount else -amount end) not valid`,
      /entry_adds_up .*NOT VALID/,
    ],
    [
      'the key of keys dropped',
      'alter table entry drop constraint entry_idempotency_key',
      /entry_idempotency_key UNIQUE/,
    ],
    [
      'the key of deliveries dropped',
      'alter table provider_event drop constraint provider_event_delivery',
      /provider_event_delivery/,
    ],
    ['a unique index dropped', 'drop index source_secret_one_account', /source_secret_one_account/],
    ['a column that may be null', 'alter table entry alter before_balance drop not null', /not null entry:/],
    ['row security', 'alter table entry enable row level security', /row security on entry/],
    ['an unlogged table', 'alter table webhook_attempt set unlogged', /webhook_attempt is not logged/],
    [
      'a right too many',
      'grant update on entry to chokin_web',
      /chokin_web may update public\.entry: nobody needs that/,
    ],
    [
      'a right to a column',
      'grant update (reason) on entry to chokin_worker',
      /chokin_worker may update \(reason\) public\.entry/,
    ],
    ['a right for everybody', 'grant delete on wallet_alert to public', /everybody may delete public\.wallet_alert/],
    [
      'a right too few',
      'revoke insert on wallet_alert from chokin_web',
      /chokin_web may insert public\.wallet_alert: it is not granted/,
    ],
  ])('are missed: %s', async (_, statement, named) => {
    expect((await guardsAfter(statement)).join('\n')).toMatch(named);
  });

  it('of a newer release are not judged, except those that protect history', async () => {
    const newer =
      "insert into schema_migration (name, run_on) values ('9999_next', now()); alter table payment add constraint next check (true);";
    expect(await guardsAfter(newer)).toEqual([]);
    expect((await guardsAfter(`${newer} drop trigger entry_is_insert_only on entry`)).join()).toMatch(
      /is_insert_only.*: it is gone/,
    );
  });

  it('leave to the operator who else may read', async () => {
    expect(await guardsAfter('grant select on entry to pg_monitor')).toEqual([]);
  });
});
