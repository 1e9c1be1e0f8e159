import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { FaultRig } from '../support/fault-rig.ts';
import { earlyRefund, newDebit, paymentEvent, type TrafficEvent } from '../support/fault-traffic.ts';
import { OwnCluster } from '../support/own-cluster.ts';
import { rounds } from '../support/rounds.ts';
import { stripeRefund } from '../support/signing.ts';
import { SVIX_TOKEN, SvixServer } from '../support/svix-server.ts';
import { eventually } from '../support/wait.ts';

/**
 * F40: the database is lost and an older backup is put in its place, a cold copy of the cluster's folder; then the
 * provider sends everything again, twice and in other orders, and the merchant repeats its debits under their keys. Every
 * payment, refund and debit counts once, balances are as owed, and the audit agrees.
 *
 * A purchase that was open then is completed again by its payment, and the refund of that returns the wallet's part again, once.
 * What does not come back by itself: checkouts opened since the backup (their payments are parked), customers made since the backup (payments that name one are parked, and replayed with
 * the customer that takes its place), and entries that the merchant made without a key. Versions are given again: a
 * merchant who drops what is older than it knows hears nothing of a wallet until its version has come as far as it was,
 * and then hears the truth, since no message shares its id with one of the time that was lost.
 */
const BACKUPS = ['at rest', 'in the middle of work'].slice(0, rounds(1, 2));

it.concurrent.for(BACKUPS)(
  'an older backup, made %s, and everything again: each counts once',
  { timeout: 120_000 },
  async (when, { onTestFinished }) => {
    const cluster = await OwnCluster.start();
    onTestFinished(() => cluster.remove());
    const backup = join(cluster.folder, 'backup');
    const svix = await SvixServer.start();
    onTestFinished(() => svix.close());
    const environment = { SVIX_TOKEN, SVIX_SERVER_URL: svix.url, WALLET_CURRENCIES: 'USD' };
    const rig = await FaultRig.start(environment, await cluster.migrated());
    onTestFinished(() => rig.close());
    const { traffic } = rig;
    await Promise.all([rig.startWeb(), rig.startWorker()]);
    const [ada, bob] = [await traffic.newCustomer(1_000), await traffic.newCustomer()];
    const old = earlyRefund(ada, 500, 200);
    const fresh = earlyRefund(ada, 700, 300);
    const before = [old.payment, ...times(30, () => paymentEvent(ada, 10))];
    const after = [old.refund, fresh.payment, fresh.refund, ...times(30, () => paymentEvent(ada, 10))];
    const [eve, dan] = [await traffic.newCustomer(1_000), await traffic.newCustomer(1_000)];
    const bought = await purchase(rig, eve);
    const debits = times(10, () => newDebit(ada, 7));

    await Promise.all(debits.slice(0, 5).map((debit) => traffic.debit(debit)));
    await Promise.all(before.slice(0, 15).map((event) => traffic.deliver(event)));
    if (when === 'at rest') await rig.expectAllWell();
    const under = Promise.all(before.slice(15).map((event) => traffic.deliver(event)));
    if (when === 'at rest') await under.then(() => rig.expectAllWell());
    await cluster.stop();
    await cluster.copy(cluster.dataDir, backup);
    await cluster.start();
    await under;

    // What the backup does not know of.
    for (const event of after) await traffic.deliver(event);
    await Promise.all(debits.slice(5).map((debit) => traffic.debit(debit)));
    for (const event of [bought.payment, bought.refund]) await traffic.deliver(event);
    const unknown = await purchase(rig, dan);
    await traffic.deliver(unknown.payment);
    const lost = await traffic.newCustomer();
    const ofLost = paymentEvent(lost, 50);
    const ofBob = paymentEvent(bob, 60);
    await traffic.deliver(ofLost);
    await creditWithoutKey(rig, bob, 5);
    await rig.expectAllWell();
    await traffic.deliver(ofBob);
    await rig.expectAllWell();
    expect(knownTo(svix, bob)).toEqual({ version: 2, balance: 65 });

    await cluster.stop('immediate');
    await rm(cluster.dataDir, { recursive: true });
    await cluster.copy(backup, cluster.dataDir);
    await cluster.start();
    const everything = [...before, ...after, bought.payment, bought.refund, unknown.payment, ofLost, ofBob];
    for (const event of everything.toReversed()) await traffic.deliver(event);
    await Promise.all(everything.map((event) => traffic.deliver(event)));
    await appliedOrParked(rig, everything);
    const repeated = await Promise.all(debits.map((debit) => traffic.debit(debit)));
    expect(repeated.map(({ status }) => status)).toEqual([...times(5, () => 409), ...times(5, () => 200)]);

    // Nobody knows whose the payment was, until somebody says so. The credit without a key is gone.
    const { body: parked } = await traffic.call('GET', '/events?status=parked');
    const parkedFor = new Map<string, string>(
      parked.items.map((one: { reason: string; event_id: string }) => [one.reason, one.event_id]),
    );
    expect([...parkedFor.keys()].toSorted()).toEqual(['unknown_checkout', 'unknown_customer']);
    const successor = await traffic.newCustomer();
    await traffic.call('POST', `/events/${parkedFor.get('unknown_customer')}/replay`, { customer_id: successor });
    const again = await traffic.call('GET', `/customers/${eve}/checkouts/${bought.checkoutId}`);
    expect(again.body).toMatchObject({
      status: 'completed',
      captured: 1000,
      wallet_returned: 500,
      payment_refunded: 250,
    });
    // Nothing is held of a purchase that nobody knows any more. What was paid of it is credited once somebody says so.
    await traffic.call('POST', `/events/${parkedFor.get('unknown_checkout')}/replay`, { customer_id: dan });
    traffic.owed.set(dan, 1_000 + 500);
    traffic.owed.delete(lost);
    traffic.owed.set(successor, 50);
    traffic.owed.set(bob, 60);
    await rig.expectAllWell();

    expect(knownTo(svix, ada)).toMatchObject({ balance: traffic.owed.get(ada) });
    expect(knownTo(svix, bob)).toEqual({ version: 2, balance: 65 });
    await traffic.deliver(paymentEvent(bob, 40));
    await rig.expectAllWell();
    expect(knownTo(svix, bob)).toEqual({ version: 2, balance: 100 });
  },
);

/** A purchase of 15.00 of which the wallet is to pay 10.00, what tells of its payment, and of the refund of half of that. */
async function purchase({ traffic }: FaultRig, customerId: string) {
  const wanted = { total: 1_500, currency: 'USD', idempotency_key: `buys-${customerId}`, expires_in_seconds: 86_400 };
  const { status, body } = await traffic.call('POST', `/customers/${customerId}/checkouts`, wanted);
  expect([status, body.wallet_part, body.payment_part]).toEqual([200, 1_000, 500]);
  const checkoutId: string = body.checkout_id;
  const paymentId = `pi_${checkoutId}`;
  const payment = paymentEvent(customerId, 500, paymentId, { wallet_checkout_id: checkoutId });
  const eventId = `evt_${checkoutId}`;
  const refund = stripeRefund({ eventId, paymentId, amount: 250, currency: 'usd', status: 'succeeded' });
  return {
    checkoutId,
    payment: { ...payment, effectMinor: -1_000 },
    refund: { eventId, customerId, effectMinor: 500, body: refund },
  };
}

/** What the merchant knows of a wallet who does as the README says: drops what it has seen, and what is older than it knows. */
function knownTo(svix: SvixServer, customerId: string): { version: number; balance: number } {
  const known = { version: -1, balance: 0 };
  const seen = new Set<string>();
  for (const payload of svix.accepted('bus_default') as readonly Changed[]) {
    const { version, balance } = payload.data;
    const isNews = payload.data.customer_id === customerId && !seen.has(payload.id) && version >= known.version;
    if (payload.type === 'wallet.balance.changed' && isNews) Object.assign(known, { version, balance });
    seen.add(payload.id);
  }
  return known;
}

interface Changed {
  readonly id: string;
  readonly type: string;
  readonly data: { readonly customer_id: string; readonly version: number; readonly balance: number };
}

/** An adjustment by hand, which nobody can repeat safely. */
async function creditWithoutKey({ traffic }: FaultRig, customerId: string, amountMinor: number): Promise<void> {
  const entry = { amount: amountMinor, currency: 'USD', entry_type: 'credit' };
  expect((await traffic.call('POST', `/customers/${customerId}/wallets/ledger-entries`, entry)).status).toBe(200);
  traffic.owed.set(customerId, (traffic.owed.get(customerId) ?? 0) + amountMinor);
}

async function appliedOrParked({ database }: FaultRig, events: readonly TrafficEvent[]): Promise<void> {
  await eventually(
    'every event to be settled',
    async () => {
      const { rowCount } = await database.pool.query(
        "select 1 from provider_event where state in ('applied', 'parked') and delivery_key = any ($1)",
        [events.map(({ eventId }) => eventId)],
      );
      return rowCount === events.length;
    },
    30_000,
  );
}

function times<T>(count: number, make: () => T): T[] {
  return Array.from({ length: count }, make);
}
