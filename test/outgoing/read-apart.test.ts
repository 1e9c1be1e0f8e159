import pg from 'pg';
import { expect, it } from 'vitest';
import type { Queryable } from '../../src/db/transaction.ts';
import { readParts } from '../../src/outgoing/claim.ts';
import { firstPart } from '../../src/outgoing/parts.ts';
import { MERCHANT } from '../support/ledger.ts';

/** What is done where parts of the news cannot be read: whom it is blamed on, and when it is the database's own matter. */

const parts = Array.from({ length: 5 }, (_, index) =>
  firstPart(
    {
      ...{ merchantId: MERCHANT, customerId: `cus_${index}`, currency: 'USD', fromVersion: 0, toVersion: 1 },
      ...{ fromAlertSeq: 0, toAlertSeq: 0, attempts: 0, createdAt: new Date(0), traceParent: null },
    },
    { entries: [100], alerts: 0 },
  ),
);

/** A database that answers each statement with this error. */
function failing(code: string): Queryable {
  const error = code.startsWith('E') ? new Error(code) : new pg.DatabaseError(code, code.length, 'error');
  const refuse = () => Promise.reject(Object.assign(error, { code }));
  return { query: refuse, queryArrays: refuse };
}

/** Reads the parts. @returns whom a failure was blamed on, and whether the parts were tried one by one */
async function read(db: Queryable, some = parts) {
  const blamed: string[] = [];
  let wasApart = false;
  const failed = async (_: unknown, { claim }: (typeof parts)[number]) => void blamed.push(claim.customerId);
  const found = readParts(db, some, {
    failed,
    apart: () => {
      wasApart = true;
    },
  });
  const problem = await found.then(
    () => null,
    (error: Error) => error.message,
  );
  return { problem, blamed, wasApart };
}

it('asks nothing where there is nothing to read', async () => {
  expect(await read(failing('ECONNREFUSED'), [])).toEqual({ problem: null, blamed: [], wasApart: false });
});

it('blames no wallet for a database that is away', async () => {
  expect(await read(failing('ECONNREFUSED'))).toEqual({ problem: 'ECONNREFUSED', blamed: [], wasApart: false });
});

it('blames each wallet that cannot be read, and goes on with the others', async () => {
  const all = parts.map(({ claim }) => claim.customerId);
  expect(await read(failing('22P02'))).toEqual({ problem: null, blamed: all, wasApart: true });
});

it('blames two wallets at most for what takes too long: then it is the database that is slow', async () => {
  expect(await read(failing('57014'))).toEqual({ problem: '57014', blamed: ['cus_0', 'cus_1'], wasApart: true });
});
