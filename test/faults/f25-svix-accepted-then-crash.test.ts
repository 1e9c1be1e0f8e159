import { afterAll, beforeAll, expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { newDebit } from '../support/fault-traffic.ts';
import type { Fault, ProxiedStatement } from '../support/statement-proxy.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';

/**
 * F25: Svix has accepted a message and the worker dies before it has noted that down. The next worker sends the message
 * again under the same id and with the same bytes, and Svix knows it.
 */
let rig: FaultRig;
let svix: SvixServer;

beforeAll(async () => {
  svix = await SvixServer.start();
  // One wallet a customer, so that a transaction marks one wallet and its COMMIT is known.
  rig = await FaultRig.start({ SVIX_TOKEN, SVIX_SERVER_URL: svix.url, WALLET_CURRENCIES: 'USD' });
  await rig.startWebHere();
});

afterAll(async () => {
  await rig.close();
  await svix.close();
});

interface Point {
  readonly name: string;
  readonly when: Fault['when'];
  readonly statement: string;
  /** Whether each message of the wallet reaches Svix again; more than once if the next worker dies in turn. */
  readonly isRepeated: boolean;
}

const POINTS: readonly Point[] = [
  {
    name: 'before the wallet is locked to be marked',
    when: 'before',
    statement: 'for update of w skip locked',
    isRepeated: true,
  },
  { name: 'after it was marked', when: 'after', statement: 'set announced_version = n.to_version', isRepeated: true },
  { name: 'before COMMIT', when: 'before', statement: 'commit', isRepeated: true },
  { name: 'after COMMIT', when: 'after', statement: 'commit', isRepeated: false },
];

it('a worker that dies between Svix accepting a message and noting it down: it is repeated under its id, and counts once', async () => {
  const crashes: { point: Point; customerId: string; accepted: readonly SentMessage[] }[] = [];
  for (const point of POINTS) {
    const customerId = await rig.traffic.newCustomer(10_000);
    await rig.traffic.debit(newDebit(customerId, 5));
    const worker = rig.spawn('jobs/worker.ts');
    const kill: Fault = { when: point.when, connection: 'cut', meanwhile: () => worker.end('SIGKILL') };
    const armed = rig.proxy.arm(1, kill, atMarking(point, customerId));
    expect(await worker.exited).toBe('SIGKILL');
    armed.disarm();
    crashes.push({ point, customerId, accepted: messagesOf(customerId) });
  }
  await rig.startWorker();
  await rig.expectAllWell();

  for (const { point, customerId, accepted } of crashes) {
    expect(accepted.map(({ eventType }) => eventType)).toEqual(['wallet.created', 'wallet.balance.changed']);
    for (const { eventId, idempotencyKey } of accepted) expect(idempotencyKey).toBe(eventId);
    const sent = messagesOf(customerId);
    const times = sent.length / accepted.length;
    if (point.isRepeated) expect(times, point.name).toBeGreaterThanOrEqual(2);
    else expect(times, point.name).toBe(1);
    expect(sent).toEqual(Array.from({ length: times }, () => accepted).flat());
    const stored = svix.accepted('bus_default').filter((payload) => JSON.stringify(payload).includes(customerId));
    expect(stored).toEqual(accepted.map(({ payload }) => payload));
  }
}, 300_000);

/** The statement of the transaction that marks the customer's wallets as announced. */
function atMarking({ statement }: Point, customerId: string): (seen: ProxiedStatement) => boolean {
  let marking: number | null = null;
  return ({ applicationName, connection, sql, holds }) => {
    if (applicationName !== 'chokin-worker') return false;
    if (sql.includes('for update of w skip locked') && holds(customerId)) marking = connection;
    return connection === marking && sql.includes(statement);
  };
}

interface SentMessage {
  readonly idempotencyKey: string | undefined;
  readonly eventId: string;
  readonly eventType: string;
  readonly payload: unknown;
}

/** Every call that brought Svix a message about the customer. */
function messagesOf(customerId: string): SentMessage[] {
  return svix
    .calls('message.create')
    .filter(({ body }) => JSON.stringify(body).includes(customerId))
    .map(({ idempotencyKey, body }) => ({ idempotencyKey, ...(body as Omit<SentMessage, 'idempotencyKey'>) }));
}
