import { z } from 'zod';
import { audit } from '../../src/audit/checks.ts';
import type { Pool } from '../../src/db/pool.ts';
import { autocommit } from '../../src/db/transaction.ts';
import type { SvixServer } from '../support/svix-server.ts';
import { findWrongLots } from './lots.ts';
import type { Traffic } from './traffic.ts';

/** What still has to be done before the system is at rest, in words; empty once it is. */
export async function notYet(pool: Pool): Promise<readonly string[]> {
  const { rows } = await pool.query<{ what: string; count: number }>(`
    select 'events ' || state as what, count(*) as count from provider_event where state in ('pending', 'waiting') group by state
    union all
    select 'wallets to announce', count(*) from unannounced_wallet having count(*) > 0
    union all
    select 'holds that are over', count(*) from hold where expires_at <= now() having count(*) > 0
    union all
    select 'lots that end', count(*) from lot where expires_at is not null having count(*) > 0
    union all
    select 'wallets to fill up', count(*) from topup_due where retry_at <= now() having count(*) > 0
    union all
    select 'scheduled entries', count(*) from scheduled_entry where state = 'scheduled' having count(*) > 0
    union all
    select 'grants that are due', count(*) from grant_schedule where next_at <= now() + interval '1 hour' having count(*) > 0
    union all
    select 'checkouts that are over', count(*) from checkout
    where state = 'open' and coalesce(prolonged_until, expires_at) <= now() having count(*) > 0
    union all
    select 'deliveries', count(*) from webhook_delivery d join webhook_endpoint e using (merchant_id, endpoint_id)
    where d.state = 'pending' and d.next_attempt_at <= now() + case when e.failing_since is null then interval '25 seconds' else '0' end
    having count(*) > 0
    union all
    select 'jobs', count(*) from pgboss.job
    where name in ('apply-provider-events', 'apply-provider-event') and state in ('created', 'retry', 'active') and start_after <= now() having count(*) > 0`);
  return rows.map(({ what, count }) => `${count} ${what}`);
}

/** How many entries there are. */
export async function entriesWritten(pool: Pool): Promise<string> {
  const { rows } = await pool.query<{ count: string }>('select sum(version)::text as count from wallet');
  return rows[0]?.count ?? '';
}

const CHANGED = z.object({
  customer_id: z.string(),
  currency: z.string(),
  entries: z.array(z.object({ seq: z.int() })),
});

/** Everything that must hold once the system is at rest; what does not, in words. */
export async function findWrongs(pool: Pool, traffic: Traffic, svix: SvixServer): Promise<readonly string[]> {
  const wrongs = [...traffic.counts.wrongs];
  const { disagreements } = await audit(autocommit(pool), { rule: null, now: new Date() });
  wrongs.push(...disagreements.map(({ rule, subject, detail }) => `audit: ${rule}: ${subject}: ${detail}`));
  const { rows: wallets } = await pool.query<{
    customer_id: string;
    currency: string;
    balance: number;
    version: number;
    announced_version: number;
  }>('select customer_id, currency, balance, version, announced_version from wallet');
  const lots = await findWrongLots(pool, traffic.lots.given);
  wrongs.push(...lots.wrongs);
  wrongs.push(...(await traffic.refills.findWrongs(pool)));
  const scheduled = await traffic.schedules.findWrongs(pool);
  wrongs.push(...scheduled.wrongs);
  const bought = await traffic.checkouts.findWrongs(pool);
  wrongs.push(...bought.wrongs);
  for (const { customerId, owedMinor } of [...traffic.accounts, ...traffic.statuses.accounts]) {
    const wallet = wallets.find((one) => one.customer_id === customerId && one.currency === 'USD');
    const moved = (scheduled.moved.get(customerId) ?? 0) + (bought.moved.get(customerId) ?? 0);
    const owed = owedMinor + moved - (lots.expired.get(customerId) ?? 0);
    if (wallet?.balance !== owed) wrongs.push(`${customerId} holds ${wallet?.balance} and is owed ${owed}`);
  }
  const { rows: events } = await pool.query<{ merchant_id: string; delivery_key: string; state: string }>(
    'select merchant_id, delivery_key, state from provider_event',
  );
  const states = new Map(events.map((event) => [`${event.merchant_id} ${event.delivery_key}`, event.state]));
  const byId = new Map<string, string>();
  for (const { merchantId, eventId } of traffic.acknowledged)
    byId.set(eventId, states.get(`${merchantId} ${eventId}`) ?? 'lost');
  for (const pair of traffic.oneIsParked) {
    const ends = pair.map((eventId) => byId.get(eventId)).sort();
    if (ends.join(' ') !== 'applied parked')
      wrongs.push(`of ${pair.join(' and ')}, one is ${ends.join(', the other ')}`);
    for (const eventId of pair) byId.delete(eventId);
  }
  for (const [eventId, state] of byId)
    if (state !== 'applied') wrongs.push(`the acknowledged event ${eventId} is ${state}`);
  const told = whatSvixHas(svix);
  for (const { customer_id, currency, version, announced_version } of wallets) {
    if (announced_version !== version)
      wrongs.push(`${customer_id} is announced up to ${announced_version} of ${version}`);
    const seqs = told.get(`${customer_id} ${currency}`) ?? [];
    const isWhole = seqs.length === version && new Set(seqs).size === version;
    if (!isWhole)
      wrongs.push(`of ${customer_id}, Svix has ${new Set(seqs).size} of ${version} entries in ${seqs.length} mentions`);
  }
  return wrongs;
}

/** The entries that Svix has messages of, by wallet; one that two messages tell of stands there twice. */
function whatSvixHas(svix: SvixServer): Map<string, number[]> {
  const told = new Map<string, number[]>();
  for (const { messages } of svix.applications.values()) {
    for (const { eventType, payload } of messages.values()) {
      if (eventType !== 'wallet.balance.changed') continue;
      const { data } = z.object({ data: CHANGED }).parse(payload);
      const key = `${data.customer_id} ${data.currency}`;
      told.set(key, [...(told.get(key) ?? []), ...data.entries.map((entry) => entry.seq)]);
    }
  }
  return told;
}
