import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';
import { systemClock } from '../../src/clock.ts';
import { loadConfig } from '../../src/config/env.ts';
import type { Pool } from '../../src/db/pool.ts';
import { type ReadsInTurn, readingBy } from '../../src/db/readers.ts';
import { Turns } from '../../src/db/turns.ts';
import { RefusalError } from '../../src/errors.ts';
import type { Route } from '../../src/http/kit/route.ts';
import type { Services } from '../../src/http/kit/services.ts';
import { TurnedAwayError } from '../../src/http/kit/turn-away.ts';
import { ROUTES } from '../../src/http/routes.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import { SourceDirectory } from '../../src/merchants/sources.ts';
import { DirectWebhooks } from '../../src/outgoing/embedded/endpoints.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { createTestDatabase, type TestDatabase } from '../support/database.ts';
import { MERCHANT, makeCustomers, SETTINGS } from '../support/ledger.ts';
import { BOX } from '../support/secrets.ts';

/** The rule that a list is never read by the connections of postings, for every list that there is, of each made from its route. */

const { ZodObject } = z;
const logger = createLogger('silent', 'test');

/** What is a list by its form, and cannot be long. */
const SHORT: ReadonlySet<string> = new Set(['/customers/{customer_id}/wallets']);

const isList = ({ method, path, response: { schema } }: Route) =>
  method === 'get' && schema instanceof ZodObject && 'items' in schema.shape && !SHORT.has(path);
const LISTS = ROUTES.filter(isList);

/** The pool of postings, which nobody may use here. */
const forbidden = new Proxy({} as Pool, {
  get() {
    throw new Error('a list was read by the connections of postings');
  },
});

let database: TestDatabase;
let services: Services;
let owners: string[] = [];
let ids: Readonly<Record<string, string>> = {};

beforeAll(async () => {
  database = await createTestDatabase();
  await makeCustomers(database.pool, ['a']);
  const { pool } = database;
  const readers: ReadsInTurn = {
    read: (owner, work) => {
      owners.push(owner);
      return readingBy(pool).read(owner, work);
    },
  };
  const busy = (owner: string) => new Error(owner);
  const turns = new Turns({ atOnce: 1, atOnceEach: 1, waitingEach: 0, patienceMs: 1, busy });
  const config = loadConfig({ PORT: '0' });
  const boss = { insert: async () => null, send: async () => null };
  const sender = { readers, boss, clock: systemClock, allowPrivate: true, box: BOX };
  const input = { url: 'http://127.0.0.1:1/', description: '', eventTypes: null, disabled: false };
  const { id } = await new DirectWebhooks({ ...sender, pool }).createEndpoint(MERCHANT, input);
  ids = {
    customer_id: 'cus_a',
    currency: 'USD',
    payment_id: 'pi_1',
    run_id: 'rec_1',
    endpoint_id: id,
    merchant_id: MERCHANT,
  };
  services = {
    ...{ config, logger, clock: systemClock, settings: SETTINGS, box: BOX, pool: forbidden },
    ...{ readers, operatorReaders: readers, turns },
    sources: new SourceDirectory(config, BOX),
    webhooks: new DirectWebhooks({ ...sender, pool: forbidden }),
    // A customer's wallets, by their keys.
    ledger: new LedgerBatches({ pool, settings: SETTINGS, clock: systemClock, onPosted: () => {} }),
  } as unknown as Services;
});
afterAll(() => database.drop());

describe('every list', () => {
  it('is among these', () => {
    expect(LISTS.length).toBeGreaterThan(12);
  });

  it.each(LISTS.map((route) => [route.path, route] as const))('%s is read in its owner’s turn', async (path, route) => {
    owners = [];
    const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name = '']) => [name, ids[name]]);
    const scopes = new Set(['read', 'write'] as const);
    const caller = {
      merchantId: MERCHANT,
      keyId: 'key_1',
      scopes,
      isSuspended: false,
      keyGuard: 'flag' as const,
      expiresAt: null,
    };
    const asked = { services, caller, params: Object.fromEntries(names), query: {}, body: undefined, headers: {} };
    const rest = { from: '', countWork: async () => {}, setHeader: () => {}, readRawBody: async () => Buffer.from('') };
    // What is not there was looked for all the same.
    await route.answer({ ...asked, ...rest }).catch((error: unknown) => {
      if (!(error instanceof RefusalError || error instanceof TurnedAwayError)) throw error;
    });
    expect(new Set(owners)).toEqual(new Set([route.scope === 'admin' ? 'lists' : MERCHANT]));
  });

  it.each(LISTS.map((route) => [route.path, route] as const))('%s may be told that it takes too long', (_, route) => {
    expect(route.errors).toContain('QUERY_TOO_SLOW');
  });
});
