import type { PgBoss } from 'pg-boss';
import type { Clock } from '../clock.ts';
import { countLinks, moveLinks } from '../customers/adopt-links.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit, type Queryable, transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { countEvents, moveEvents } from '../inbox/adopt-events.ts';
import { settleHolds } from '../inbox/settle-holds.ts';
import { moveCheckouts } from '../ledger/checkouts/store.ts';
import type { LedgerSettings } from '../ledger/store.ts';
import { accountsBySource, moveAccounts } from '../merchants/account-store.ts';
import { adoptionsOf, noteAdoption, seizeSources } from '../merchants/adoption-store.ts';
import type { Sources } from '../merchants/sources.ts';
import {
  countPayments,
  lockShared,
  moveHandled,
  movePayments,
  postedAtBoth,
  type SourcePair,
} from '../payments/adopt.ts';
import { moveTopUps } from '../top-ups/adopt.ts';
import { moveSourceState } from './source-state.ts';

/** One source takes over from another: its payments, links, events and accounts. */

export interface AdoptServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly sources: Sources;
}

/** What is, or would be, moved. */
export interface SourceAdoption {
  readonly from: string;
  readonly into: string;
  readonly payments: number;
  readonly links: number;
  readonly events: number;
  readonly accounts: readonly string[];
}

const MOST_NAMED = 20;

/**
 * What {@link adoptSource} would move now.
 * @throws {RefusalError} NO_SUCH_SOURCE, INVALID_FIELD, MODE_DIFFERS, SOURCE_ADOPTED, PAYMENTS_AT_BOTH
 */
export async function planAdoption({ pool, sources }: AdoptServices, pair: SourcePair): Promise<SourceAdoption> {
  return checkAdoption(autocommit(pool), sources, pair);
}

/**
 * Moves everything of one source to another of the same merchant, provider and mode, in one transaction: cut off at any
 * point it has done nothing, and done again it moves what has come to be there since. Events of both wait meanwhile.
 * What the old source still receives is handled as the other's from then on.
 * @returns what was moved
 * @throws {RefusalError} NO_SUCH_SOURCE, INVALID_FIELD, MODE_DIFFERS, SOURCE_ADOPTED, PAYMENTS_AT_BOTH
 */
export async function adoptSource(
  services: AdoptServices & { readonly boss: PgBoss; readonly settings: LedgerSettings },
  pair: SourcePair,
): Promise<SourceAdoption> {
  const { pool, clock, sources, boss, settings } = services;
  // Before anybody is kept waiting.
  await planAdoption(services, pair);
  return transaction(pool, async (tx) => {
    await tx.takeTime();
    await seizeSources(tx, [pair.from, pair.into]);
    await lockShared(tx, pair);
    const { accounts } = await checkAdoption(tx, sources, pair);
    const now = clock.now();
    const { moved: payments, dropped } = await movePayments(tx, pair);
    const links = await moveLinks(tx, pair);
    await moveAccounts(tx, pair);
    const events = await moveEvents(boss, tx, { ...pair, reread: dropped, now });
    const disputed = await moveHandled(tx, pair);
    await moveCheckouts(tx, pair);
    await moveTopUps(tx, pair);
    await moveSourceState(tx, pair, now);
    await noteAdoption(tx, pair, now);
    // Last, since it locks wallets. What is handled now may have been told to the one and held for the other.
    await settleHolds(tx, disputed, { ...settings, now });
    return { from: pair.from, into: pair.into, payments, links, events, accounts };
  });
}

async function checkAdoption(db: Queryable, sources: Sources, pair: SourcePair): Promise<SourceAdoption> {
  const { merchantId, from, into } = pair;
  if (from === into)
    refuse({ code: 'INVALID_FIELD', field: 'from', wants: 'wants another source than the one to adopt it' });
  const target = (await sources.find(db, merchantId, into)) ?? refuse({ code: 'NO_SUCH_SOURCE' });
  const old = await sources.find(db, merchantId, from);
  const adoptions = await adoptionsOf(db, [
    { merchantId, sourceId: from },
    { merchantId, sourceId: into },
  ]);
  for (const { sourceId, intoSourceId } of adoptions) {
    // To go back to a source undoes its adoption; to go anywhere else would part what belongs together.
    const isSame = sourceId === from ? intoSourceId === into : intoSourceId === from;
    if (!isSame) refuse({ code: 'SOURCE_ADOPTED', into: intoSourceId });
  }
  const events = await countEvents(db, pair);
  const payments = await countPayments(db, pair);
  const links = await countLinks(db, merchantId, from);
  const accounts = (await accountsBySource(db, merchantId)).get(from) ?? [];
  // Of a source that the environment had, what came in by it is all that is left.
  const provider = old?.provider ?? events.provider;
  const isKnown = provider !== null || payments > 0 || links > 0 || accounts.length > 0 || adoptions.length > 0;
  if (!isKnown) refuse({ code: 'NO_SUCH_SOURCE' });
  if (provider !== null && provider !== target.provider)
    refuse({ code: 'INVALID_FIELD', field: 'from', wants: `wants a source of ${target.provider}` });
  if (old !== null && old.mode !== target.mode) refuse({ code: 'MODE_DIFFERS', mode: target.mode });
  const paymentIds = await postedAtBoth(db, pair, MOST_NAMED + 1);
  if (paymentIds.length > 0)
    refuse({
      code: 'PAYMENTS_AT_BOTH',
      paymentIds: paymentIds.slice(0, MOST_NAMED),
      isAll: paymentIds.length <= MOST_NAMED,
    });
  return { from, into, payments, links, events: events.count, accounts };
}
