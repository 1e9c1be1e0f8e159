import pg from 'pg';
import { describe, expect, it } from 'vitest';
import { asOfOnePostgres } from '../../src/db/node-errors.ts';
import { spreadGuards, spreadKey } from '../../src/db/spread.ts';
import { isRaceLost } from '../../src/db/sqlstate.ts';

const KEY = 'FOREIGN KEY (merchant_id, source_id) REFERENCES payment(merchant_id, source_id)';

describe('what spreading tables changes of them', () => {
  it('lets a key that cascades be looked at when the transaction ends, and leaves every other as it is', () => {
    expect(spreadKey(`${KEY} ON UPDATE CASCADE ON DELETE CASCADE NOT VALID`)).toBe(
      `${KEY} ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED`,
    );
    expect(spreadKey(`${KEY} ON DELETE CASCADE`)).toBe(`${KEY} ON DELETE CASCADE`);
  });

  it('is what the audit expects, and nothing else', () => {
    const kept = [
      'constraint wallet.wallet_pkey PRIMARY KEY (merchant_id, customer_id, currency)',
      'not null entry: seq',
    ];
    const gone =
      'constraint api_key.api_key_merchant_id_fkey FOREIGN KEY (merchant_id) REFERENCES merchant(merchant_id)';
    const trigger = `function refuse_change_but_erasure() in plpgsql: ${'0'.repeat(64)}`;
    const [own, ...rest] = spreadGuards([trigger, ...kept, gone]);
    expect(rest).toEqual(kept);
    expect(own).toMatch(/^function refuse_change_but_erasure\(\) in plpgsql: (?!0{64})[0-9a-f]{64}$/);
  });
});

describe('an error of a node', () => {
  const of = (code: string, message: string) =>
    asOfOnePostgres(Object.assign(new pg.DatabaseError(message, 1, 'error'), { code }));

  it.each([
    [
      'XX000',
      'duplicate key value violates unique constraint "checkout_idempotency_key_102007"',
      '23505',
      'checkout_idempotency_key',
    ],
    [
      '23505',
      'duplicate key value violates unique constraint "entry_idempotency_key_102273"',
      '23505',
      'entry_idempotency_key',
    ],
    [
      'XX000',
      'new row for relation "entry_102087" violates check constraint "entry_adds_up"',
      '23514',
      'entry_adds_up',
    ],
    [
      'XX000',
      'insert or update on table "entry_102087" violates foreign key constraint "entry_of_wallet_fkey_102087"',
      '23503',
      'entry_of_wallet_fkey',
    ],
    ['XX000', 'canceling statement due to lock timeout', '55P03', undefined],
    ['XX000', 'canceling statement due to statement timeout', '57014', undefined],
    ['XX000', 'deadlock detected', '40P01', undefined],
    ['XX000', 'a bug, constraint "of_nobody_102007"', 'XX000', undefined],
    ['0A000', 'deadlock detected', '0A000', undefined],
  ])('%s "%s" is %s of one Postgres', (code, message, asked, constraint) => {
    expect(of(code, message)).toEqual(
      expect.objectContaining(constraint === undefined ? { code: asked } : { code: asked, constraint }),
    );
  });

  it('of a key that another transaction wrote meanwhile is a race that was lost, and of another key is not', () => {
    const duplicate = (name: string) => of('XX000', `duplicate key value violates unique constraint "${name}"`);
    for (const lost of ['entry_idempotency_key_102273', 'checkout_idempotency_key_102007', 'entry_idempotency_key'])
      expect(isRaceLost(duplicate(lost))).toBe(true);
    for (const other of ['entry_pkey_102273', 'entry_idempotency_key_of_mine'])
      expect(isRaceLost(duplicate(other))).toBe(false);
  });

  it('is left as it is where it is none of the database', () => {
    const error = new Error('deadlock detected');
    expect(asOfOnePostgres(error)).toBe(error);
  });
});
