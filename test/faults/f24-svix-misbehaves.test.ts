import { expect, it } from 'vitest';
import { announce } from '../../src/outgoing/announce.ts';
import type { TestDatabase } from '../support/database.ts';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit } from '../support/fault-traffic.ts';
import { expectEachOnce, type LogLine, newAnnouncer, startAnnouncer } from '../support/svix-announcer.ts';
import { type ScriptedAnswer, SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';

/**
 * F24: Svix refuses connections, hangs, drips, breaks off, fails, limits the rate, denies what it has, answers with pages,
 * or refuses the message or the token. What may pass is retried under the same id with the same bytes, what cannot pass is
 * put off and shown, what is about the account pauses all; in the end every wallet is announced, each message once.
 */
const IN_TIME = 'Svix did not answer in time';
const NO_JSON = 'Svix answered with something that is not JSON';
const RESET = 'Svix could not be reached (ECONNRESET)';
const NOT_FOUND = 'Svix answered notFound';
const accepted = { stores: true, dispatches: true };

interface Row {
  readonly name: string;
  /** How the first calls about the wallet are answered. */
  readonly answers: readonly ScriptedAnswer[];
  /** Why it was tried again, as the log says it. */
  readonly retried: readonly string[];
}

const RETRIED: readonly Row[] = [
  { name: 'a hang', answers: [{ connection: 'hang' }], retried: [IN_TIME] },
  { name: 'a hang after accepting', answers: [{ connection: 'hang', ...accepted }], retried: [IN_TIME] },
  { name: 'a slow drip', answers: [{ status: 202, connection: 'drip' }], retried: [IN_TIME] },
  { name: 'a drip after accepting', answers: [{ status: 202, connection: 'drip', ...accepted }], retried: [IN_TIME] },
  { name: 'a reset', answers: [{ connection: 'reset' }], retried: [RESET] },
  { name: 'a reset after accepting', answers: [{ connection: 'reset', ...accepted }], retried: [RESET] },
  { name: '500', answers: [{ status: 500 }], retried: ['Svix answered 500'] },
  { name: '500 that is no JSON', answers: [{ status: 500, body: 'oops' }], retried: ['Svix answered 500'] },
  { name: '500 after accepting', answers: [{ status: 500, ...accepted }], retried: ['Svix answered 500'] },
  { name: '500 after storing', answers: [{ status: 500, stores: true }], retried: ['Svix answered 500'] },
  { name: '503', answers: [{ status: 503 }], retried: ['Svix answered 503'] },
  { name: 'a page after accepting', answers: [{ status: 202, body: '<html>', ...accepted }], retried: [NO_JSON] },
  { name: 'an HTML 403', answers: [{ status: 403, body: '<html>Forbidden' }], retried: [NO_JSON] },
  { name: '409 of a message sent', answers: [{ status: 409, ...accepted }], retried: [] },
  { name: '409 of a message never sent', answers: [{ status: 409, stores: true }], retried: [] },
  { name: '409 of a message not there', answers: [{ status: 409 }], retried: [NOT_FOUND] },
  { name: '404', answers: [{ status: 404 }], retried: [] },
  { name: '404 again', answers: [{ status: 404 }, { status: 404 }], retried: [NOT_FOUND] },
];

const TOO_DEEP = '{"detail":[{"loc":["body","payload"],"msg":"too deep","type":"x"}]}';

const PUT_OFF: readonly Row[] = [
  { name: '400', answers: [{ status: 400 }], retried: ['Svix answered 400: as scripted'] },
  { name: '413', answers: [{ status: 413 }], retried: ['Svix answered 413: as scripted'] },
  { name: '422', answers: [{ status: 422, body: TOO_DEEP }], retried: ['Svix answered 422: payload: too deep'] },
];

it.concurrent('each failure is retried, or put off and shown, and each message counts once', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const { rig, svix } = await startRig(onTestFinished);
  const { traffic, database } = rig;
  const lines: LogLine[] = [];
  const announcer = await startAnnouncer(database, svix, { lines, timeoutMs: 4_000 });
  onTestFinished(() => announcer.stop());
  const rows = await Promise.all(
    [...RETRIED, ...PUT_OFF].map(async (row) => ({ row, customerId: await traffic.newCustomer(10_000) })),
  );
  const neighbour = await traffic.newCustomer(10_000);
  await rig.expectAllWell();

  const before = svix.requests.length;
  const due = new Map(rows.map(({ row, customerId }) => [customerId, [...row.answers]]));
  svix.decide = ({ operation, body }) => {
    if (operation !== 'message.create') return null;
    const customerId = rows.find((one) => JSON.stringify(body).includes(one.customerId))?.customerId ?? '';
    return due.get(customerId)?.shift() ?? null;
  };
  await Promise.all(rows.map(({ customerId }) => traffic.debit(newDebit(customerId, 5))));
  await traffic.debit(newDebit(neighbour, 5));
  await eventually('all but what is put off to be announced', async () => {
    const waiting = await waitingWallets(database);
    return waiting.length === PUT_OFF.length && waiting.every(({ retry_seconds }) => retry_seconds > 800);
  });

  const callsOf = (customerId: string) =>
    svix.requests
      .slice(before)
      .filter(({ operation, body }) => operation === 'message.create' && JSON.stringify(body).includes(customerId));
  for (const { row, customerId } of rows) {
    const told = lines.filter((line) => line.customerId === customerId);
    const level = PUT_OFF.includes(row) ? 50 : 40;
    expect(
      told.map((line) => [line.level, line.reason]),
      row.name,
    ).toEqual(row.retried.map((reason) => [level, reason]));
    const distinct = new Set(
      callsOf(customerId).map(({ idempotencyKey, body }) => JSON.stringify([idempotencyKey, body])),
    );
    expect(distinct.size, row.name).toBe(1);
    expect(due.get(customerId), row.name).toEqual([]);
    // One for each answer, without the SDK trying again, and a good one unless Svix had the message or it is put off.
    const isDone = PUT_OFF.includes(row) || row.answers.some(({ status, stores }) => status === 409 && stores);
    expect(callsOf(customerId), row.name).toHaveLength(row.answers.length + (isDone ? 0 : 1));
  }
  expect(callsOf(neighbour)).toHaveLength(1);

  // A quarter of an hour passes, and what made Svix refuse them is mended.
  await database.pool.query('update unannounced_wallet set retry_at = now()');
  await traffic.debit(newDebit(neighbour, 5));
  await rig.expectAllWell();
  expectEachOnce(svix, [...rows.map(({ customerId }) => [customerId, 2] as const), [neighbour, 3]]);
});

it.concurrent('what is about the account pauses everything: a rate limit, a wrong token; and nobody there', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const { rig, svix } = await startRig(onTestFinished);
  const { traffic, database } = rig;
  const customers = [await traffic.newCustomer(10_000), await traffic.newCustomer(10_000)];
  const debitAll = () => Promise.all(customers.map((customerId) => traffic.debit(newDebit(customerId, 5))));
  const wrong = await rig.startWorker({ SVIX_TOKEN: 'testsk_of_somebody_else.eu' });
  await wrong.printed('Svix refuses our token: nothing is announced until SVIX_TOKEN is mended');
  // The token is tried once by each wallet under way, and by none that comes while it is known to be wrong.
  await eventually('both wallets to be put off', async () => {
    const waiting = await waitingWallets(database);
    return waiting.length === 2 && waiting.every(({ retry_seconds }) => retry_seconds > 0);
  });
  const refused = svix.requests.length;
  const runs = await announcingRuns(database);
  await debitAll();
  await eventually('a run of the announcer', async () => (await announcingRuns(database)) > runs);
  expect(svix.requests).toHaveLength(refused);
  expect(svix.calls('message.create')).toEqual([]);
  expect(wrong.output()).not.toContain('testsk_of_somebody_else');
  expect(await wrong.end('SIGTERM')).toBe(0);

  const worker = await rig.startWorker();
  // A minute passes.
  await database.pool.query('update unannounced_wallet set retry_at = now()');
  await debitAll();
  await rig.expectAllWell();

  svix.script('message.create', { status: 429, headers: { 'retry-after': '3' } });
  const first = svix.calls('message.create').length;
  await debitAll();
  await rig.expectAllWell();
  const [limited, ...others] = svix.calls('message.create').slice(first);
  const next = Math.min(...others.map(({ atMs }) => atMs).filter((atMs) => atMs > (limited?.atMs ?? 0) + 500));
  expect(next - (limited?.atMs ?? 0)).toBeGreaterThan(2_900);
  // Nobody's failure.
  expect(worker.output()).not.toContain('a wallet was not announced');

  await svix.close();
  await debitAll();
  await worker.printed('Svix could not be reached (ECONNREFUSED)');
  await svix.open();
  await rig.expectAllWell();
  expectEachOnce(
    svix,
    customers.map((customerId) => [customerId, 5]),
  );
});

it.concurrent('a Svix that hangs: the lease is kept, and no other worker takes the wallet over', {
  timeout: 120_000,
}, async ({ onTestFinished }) => {
  const { rig, svix } = await startRig(onTestFinished);
  const { traffic, database } = rig;
  const customerId = await traffic.newCustomer(10_000);
  const [one, two] = [newAnnouncer(database, svix), newAnnouncer(database, svix)];
  onTestFinished(() => Promise.all([one.pool.end(), two.pool.end()]).then(() => {}));
  await announce(one);
  await traffic.debit(newDebit(customerId, 5));
  const before = svix.calls('message.create').length;
  svix.script('message.create', { connection: 'hang' });
  let isGivenUp = false;
  const startedAt = performance.now();
  const hanging = announce(one).finally(() => {
    isGivenUp = true;
  });
  await eventually('Svix to hang', () => svix.calls('message.create').length > before);
  // Unless it is renewed, the lease lapses before Svix is given up, which the SDK does after 10 s.
  await database.pool.query("update unannounced_wallet set claimed_until = now() + interval '8 seconds'");
  await eventually('Svix to be given up', async () => {
    const { wallets, failed } = await announce(two);
    expect({ wallets, failed }).toEqual({ wallets: 0, failed: 0 });
    return isGivenUp;
  });
  expect(performance.now() - startedAt).toBeGreaterThan(9_900);
  expect(await hanging).toMatchObject({ wallets: 0, failed: 1 });
  expect(svix.calls('message.create')).toHaveLength(before + 1);
  await eventually('the other to announce it', async () => (await announce(two)).wallets === 1);
  await rig.expectAllWell();
  expectEachOnce(svix, [[customerId, 2]]);
});

it.concurrent('a Svix that answers after the lease was lost: both workers say the same, and the late one changes nothing', async ({
  onTestFinished,
}) => {
  const { rig, svix } = await startRig(onTestFinished);
  const { traffic, database } = rig;
  const customerId = await traffic.newCustomer(10_000);
  const [one, two] = [newAnnouncer(database, svix), newAnnouncer(database, svix)];
  onTestFinished(() => Promise.all([one.pool.end(), two.pool.end()]).then(() => {}));
  await announce(one);
  const before = svix.calls('message.create').length;
  const answer = Promise.withResolvers<void>();
  svix.script('message.create', { status: 202, after: answer.promise, ...accepted });
  await traffic.debit(newDebit(customerId, 5));
  const slow = announce(one);
  const said = () =>
    svix
      .calls('message.create')
      .slice(before)
      .map(({ idempotencyKey, body }) => JSON.stringify([idempotencyKey, body]));
  await eventually('Svix to be slow', () => said().length === 1);
  await eventually('the wallet to be taken over', async () => {
    // As when the process was frozen for longer than the lease.
    await database.pool.query('update unannounced_wallet set claimed_until = now()');
    await announce(two);
    return said().length > 1;
  });
  await traffic.debit(newDebit(customerId, 5));
  await eventually('the next version to be announced', async () => {
    await announce(two);
    return new Set(said()).size > 1;
  });
  answer.resolve();
  await slow;
  // The first message again and again, then the next: nothing under another id than its own.
  expect(new Set(said()).size).toBe(2);
  await rig.expectAllWell();
  expectEachOnce(svix, [[customerId, 3]]);
});

type OnTestFinished = (then: () => Promise<void>) => void;

async function startRig(onTestFinished: OnTestFinished): Promise<{ rig: FaultRig; svix: SvixServer }> {
  const svix = await SvixServer.start();
  // One wallet a customer, so that its messages are known by the customer.
  const rig = await FaultRig.start({ SVIX_TOKEN, SVIX_SERVER_URL: svix.url, WALLET_CURRENCIES: 'USD' });
  onTestFinished(async () => {
    await rig.close();
    await svix.close();
  });
  await rig.startWebHere();
  const made = await rig.traffic.call('POST', '/webhook-endpoints', { url: 'https://merchant.example/hook' });
  expect(made.status).toBe(200);
  return { rig, svix };
}

async function waitingWallets({
  pool,
}: TestDatabase): Promise<readonly { customer_id: string; retry_seconds: number }[]> {
  const { rows } = await pool.query<{ customer_id: string; retry_seconds: number }>(
    `select customer_id, coalesce(extract(epoch from retry_at - now()), 0)::float8 as retry_seconds from unannounced_wallet`,
  );
  return rows;
}

/** How many runs of the announcer have ended. */
async function announcingRuns({ pool }: TestDatabase): Promise<number> {
  const { rows } = await pool.query<{ runs: number }>(
    "select count(*) as runs from pgboss.job where name = 'announce-balance-changes' and state = 'completed'",
  );
  return rows[0]?.runs ?? 0;
}
