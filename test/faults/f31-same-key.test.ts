import fc from 'fast-check';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { systemClock } from '../../src/clock.ts';
import { createPool, type Pool } from '../../src/db/pool.ts';
import { autocommit, transaction } from '../../src/db/transaction.ts';
import { LedgerBatches } from '../../src/ledger/batches.ts';
import type { Metadata, Posting } from '../../src/ledger/entry.ts';
import type { PostingResult } from '../../src/ledger/post.ts';
import { postBatch } from '../../src/ledger/store.ts';
import { storeApiKey } from '../../src/merchants/api-key-store.ts';
import { newApiKey } from '../../src/merchants/api-keys.ts';
import { createLogger } from '../../src/telemetry/log.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { gatedPool } from '../support/gated-pool.ts';
import { MERCHANT, makeCustomers, posting, SETTINGS } from '../support/ledger.ts';
import { rounds } from '../support/rounds.ts';
import { WebFleet } from '../support/web-fleet.ts';

/**
 * F31: many callers use one idempotency key at the same moment, some for the same request and some for others. One of the
 * requests is carried out, once; whoever made that request is told of the same entry, and whoever made another is told so.
 * The key of another customer, or of a customer of another merchant, is another key.
 */
const OTHER_MERCHANT = 'bus_other';
const PROCESSES = 3;
const OPENING_MINOR = 1_000_000;

/** Under one key each, from the same callers at once. The customers of the two merchants have the same ids. */
const ADA = { merchantId: MERCHANT, customerId: 'cus_ada' };
const OWNERS = [ADA, { ...ADA, customerId: 'cus_grace' }, { ...ADA, merchantId: OTHER_MERCHANT }] as const;
type Owner = Pick<Posting, 'merchantId' | 'customerId'>;

let rig: FaultRig;
let fleet: WebFleet;
let pool: Pool;
const keyOfOther = newApiKey('test');

beforeAll(async () => {
  rig = await FaultRig.start();
  const logger = createLogger('silent', 'test');
  const { ownerUrl: databaseUrl } = rig.database;
  pool = createPool({ databaseUrl, applicationName: 'test-keys', maxConnections: 40, logger });
  [fleet] = await Promise.all([WebFleet.start(rig, PROCESSES, 60), rig.startWebHere(), rig.startWorkerHere()]);
  for (const merchantId of [MERCHANT, OTHER_MERCHANT]) await makeCustomers(pool, ['ada', 'grace'], merchantId);
  const scopes = ['read', 'write'] as const;
  await storeApiKey(
    autocommit(pool),
    { merchantId: OTHER_MERCHANT, key: keyOfOther, name: 'test', scopes, expiresAt: null, isDefault: false },
    systemClock.now(),
  );
  // Enough of both currencies, so that no debit is refused for another reason than its key.
  const deposits = OWNERS.flatMap((owner) =>
    ['USD', 'INR'].map((currency) => posting({ ...owner, currency, amountMinor: OPENING_MINOR })),
  );
  await transaction(pool, (tx) => postBatch(tx, deposits, { ...SETTINGS, now: new Date() }));
});

afterAll(async () => {
  await fleet.close();
  await pool.end();
  await rig.close();
});

/** Ledgers outside of the service tell its announcer of nothing; the credit of a customer does. */
async function expectAllWell(): Promise<void> {
  await rig.traffic.newCustomer(1);
  await rig.expectAllWell();
}

interface EntryRequest {
  readonly amount: number;
  readonly currency: string;
  readonly entry_type: 'credit' | 'debit';
  readonly reason?: string;
  readonly metadata?: Metadata;
  readonly reference_object_id?: string;
}

const THE_REQUEST: EntryRequest = { amount: 7, currency: 'USD', entry_type: 'credit' };
const IN_RUPEES: EntryRequest = { ...THE_REQUEST, currency: 'INR' };

/** What else is asked for under the key; each differs in one thing. */
const OTHER_REQUESTS: readonly EntryRequest[] = [
  { ...THE_REQUEST, amount: 8 },
  IN_RUPEES,
  { ...THE_REQUEST, entry_type: 'debit' },
  { ...THE_REQUEST, reason: 'another' },
  { ...THE_REQUEST, metadata: { order: 2 } },
  { ...THE_REQUEST, reference_object_id: 'another' },
];

interface Call {
  readonly owner: Owner;
  readonly request: EntryRequest;
  readonly process: number;
}

const someCall: fc.Arbitrary<Call> = fc.record({
  owner: fc.constantFrom(...OWNERS),
  request: fc.oneof(fc.constant(THE_REQUEST), fc.constantFrom(...OTHER_REQUESTS)),
  process: fc.nat(PROCESSES - 1),
});

/** What a caller was told, with the balance that the entry left, and the entry where it is shown. */
type Reply =
  | { readonly kind: 'created'; readonly balance: number }
  | { readonly kind: 'repeated'; readonly balance: number; readonly entry: unknown }
  | { readonly kind: 'refused'; readonly code: string };

let keys = 0;
function newKey(): string {
  keys += 1;
  return `key_${keys}`;
}

/**
 * Makes the calls under a key that is new for all owners: for each of them there is one more entry, for the request that
 * was carried out, and everybody was told of it.
 */
async function expectOneEffect(
  calls: readonly Call[],
  storedKey: string,
  ask: () => Promise<readonly Reply[]>,
): Promise<void> {
  const before = await entriesOf(storedKey);
  const replies = await ask();
  const after = await entriesOf(storedKey);
  for (const [index, owner] of OWNERS.entries()) {
    const own = calls
      .map(({ owner: caller, request }, at) => ({ caller, request, reply: replies[at] }))
      .filter((one) => one.caller === owner);
    expect(before[index]?.keyed).toEqual([]);
    expect(after[index]?.keyed).toHaveLength(own.length === 0 ? 0 : 1);
    expect(after[index]?.count).toBe((before[index]?.count ?? 0) + (own.length === 0 ? 0 : 1));
    const [entry] = after[index]?.keyed ?? [];
    if (entry === undefined) continue;
    const { seq, balance, ...carriedOut } = entry;
    const [winner, ...second] = own.filter((one) => one.reply?.kind === 'created');
    expect([winner?.reply, second]).toEqual([{ kind: 'created', balance }, []]);
    expect(winner?.request).toMatchObject(carriedOut);
    const losers = own.filter((one) => one !== winner);
    const shown = losers.flatMap((one) => (one.reply?.kind === 'repeated' ? [one.reply.entry] : []));
    if (shown.length > 0) expect(shown[0]).toMatchObject({ seq });
    for (const one of losers) {
      const repeated = { kind: 'repeated', balance, entry: shown[0] };
      expect(one.reply).toEqual(
        one.request === winner?.request ? repeated : { kind: 'refused', code: 'IDEMPOTENCY_KEY_REUSED' },
      );
    }
  }
}

interface OwnEntries {
  readonly count: number;
  readonly keyed: readonly { seq: number; amount: number; currency: string; entry_type: string; balance: number }[];
}

/** How many entries each owner has, and those under the key. */
async function entriesOf(storedKey: string): Promise<OwnEntries[]> {
  const { rows } = await pool.query<OwnEntries>(
    `select count(e.seq) as count, coalesce(jsonb_agg(jsonb_build_object('seq', seq, 'amount', amount, 'currency', currency,
       'entry_type', case when is_credit then 'credit' else 'debit' end, 'balance', after_balance)) filter (where idempotency_key = $3), '[]') as keyed
     from unnest($1::text[], $2::text[]) with ordinality as o (merchant_id, customer_id, place)
     left join entry e using (merchant_id, customer_id) group by place order by place`,
    [OWNERS.map((owner) => owner.merchantId), OWNERS.map((owner) => owner.customerId), storedKey],
  );
  return rows;
}

/** By HTTP, alone or as an entry of a batch. */
async function askByHttp({ owner, request, process }: Call, key: string, isBatch: boolean): Promise<Reply> {
  const { merchantId, customerId } = owner;
  const body = { ...request, idempotency_key: key };
  const apiKey = merchantId === OTHER_MERCHANT ? keyOfOther : undefined;
  if (isBatch) {
    const entries = [{ customer_id: customerId, ...body }];
    const answer = await fleet.call(process, 'POST', '/ledger-entries/batch', { entries }, apiKey);
    expect(answer.status).toBe(200);
    const { status: kind, code, entry } = answer.body.items[0];
    if (kind === 'refused') return { kind, code };
    return kind === 'created' ? { kind, balance: entry.after_balance } : { kind, balance: entry.after_balance, entry };
  }
  const path = `/customers/${customerId}/wallets/ledger-entries`;
  const answer = await fleet.call(process, 'POST', path, body, apiKey);
  const { code, entry, balance } = answer.body;
  if (answer.status === 200) return { kind: 'created', balance };
  if (answer.status === 422) return { kind: 'refused', code };
  expect([answer.status, code]).toEqual([409, 'IDEMPOTENCY_KEY_EXISTS']);
  return { kind: 'repeated', balance: entry.after_balance, entry };
}

it('many callers of several web processes, for the same request and for others: one effect, of which all are told', async () => {
  const someCalls = fc.array(fc.tuple(someCall, fc.boolean()), { minLength: 2, maxLength: 60, size: 'max' });
  await fc.assert(
    fc.asyncProperty(someCalls, async (all) => {
      const key = newKey();
      const askAll = () => Promise.all(all.map(([call, isBatch]) => askByHttp(call, key, isBatch)));
      const calls = all.map(([call]) => call);
      let first: readonly Reply[] = [];
      await expectOneEffect(calls, `api:${key}`, async () => {
        first = await askAll();
        return first;
      });
      // Whoever asks again, at whichever process, is told the same; the one that was first, of its entry.
      const again = await askAll();
      for (const [index, reply] of first.entries()) {
        expect(again[index]).toEqual(
          reply.kind === 'created' ? { ...reply, kind: 'repeated', entry: expect.anything() } : reply,
        );
      }
    }),
    // A race cannot be run again as it was, so there is nothing to shrink.
    { numRuns: rounds(15, 100), endOnFailure: true },
  );
  await rig.expectAllWell();
}, 120_000);

function toPosting({ owner, request }: Call, idempotencyKey: string): Posting {
  return posting({
    ...owner,
    amountMinor: request.amount,
    currency: request.currency,
    isCredit: request.entry_type === 'credit',
    reason: request.reason ?? null,
    metadata: request.metadata ?? null,
    referenceObjectId: request.reference_object_id ?? null,
    idempotencyKey,
  });
}

function replyOf(outcome: PostingResult | undefined): Reply {
  if (outcome?.kind === 'refused') return { kind: 'refused', code: outcome.refusal.code };
  if (outcome?.kind === 'created') return { kind: 'created', balance: outcome.entry.afterBalance };
  if (outcome?.kind === 'repeated')
    return { kind: 'repeated', balance: outcome.entry.afterBalance, entry: outcome.entry };
  throw new Error('a posting without an outcome');
}

/** As many ledgers as there are processes, each with batchers of its own. */
const newLedgers = (of: Pool): LedgerBatches[] =>
  Array.from(
    { length: PROCESSES },
    () => new LedgerBatches({ pool: of, settings: SETTINGS, clock: systemClock, onPosted: () => {} }),
  );

it('whatever way the statements of several ledgers interleave: one effect, of which all are told', async () => {
  await fc.assert(
    fc.asyncProperty(fc.scheduler(), fc.array(someCall, { minLength: 2, maxLength: 6 }), async (scheduler, calls) => {
      const key = newKey();
      const ledgers = newLedgers(gatedPool(pool, (sql) => scheduler.schedule(Promise.resolve(), sql)));
      await expectOneEffect(calls, key, async () => {
        const outcomes = Promise.all(calls.map((call) => ledgers[call.process]?.post(toPosting(call, key))));
        return (await scheduler.waitFor(outcomes)).map(replyOf);
      });
    }),
    { numRuns: rounds(60, 600) },
  );
  await expectAllWell();
}, 300_000);

it('writes one entry for 100 racing requests under one key, and gives each of them that entry', async () => {
  const key = newKey();
  const call: Call = { owner: ADA, request: THE_REQUEST, process: 0 };
  const calls = Array.from({ length: 100 }, () => call);
  const post = () => transaction(pool, (tx) => postBatch(tx, [toPosting(call, key)], { ...SETTINGS, now: new Date() }));
  await expectOneEffect(calls, key, async () =>
    (await Promise.all(calls.map(post))).map(([outcome]) => replyOf(outcome)),
  );
});

it('gives one of two racing requests under one key but in two currencies the key, and refuses the other', async () => {
  const ledgers = newLedgers(pool);
  const calls = [THE_REQUEST, IN_RUPEES].map((request, process): Call => ({ owner: ADA, request, process }));
  for (let round = 0; round < rounds(20, 100); round += 1) {
    const key = newKey();
    await expectOneEffect(calls, key, async () =>
      (await Promise.all(calls.map((call) => ledgers[call.process]?.post(toPosting(call, key))))).map(replyOf),
    );
  }
  await expectAllWell();
}, 120_000);
