import pg from 'pg';
import { describe, expect, it } from 'vitest';
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

describe('a key of a request that another transaction wrote meanwhile', () => {
  const duplicate = (message: string, constraint?: string) =>
    Object.assign(new pg.DatabaseError(message, 1, 'error'), { code: '23505', constraint });

  it.each([
    ['by one Postgres', duplicate('duplicate key', 'entry_idempotency_key'), true],
    [
      'by a node of Citus, of its part of the table, in the message alone',
      duplicate('duplicate key value violates unique constraint "entry_idempotency_key_102273"'),
      true,
    ],
    ['of checkouts', duplicate('… unique constraint "checkout_idempotency_key_7"'), true],
    ['and not another key', duplicate('… unique constraint "entry_pkey_102273"'), false],
    ['nor one that is called alike', duplicate('… unique constraint "entry_idempotency_key_of_mine"'), false],
  ])('is known %s', (_, error, isKnown) => {
    expect(isRaceLost(error)).toBe(isKnown);
  });
});
