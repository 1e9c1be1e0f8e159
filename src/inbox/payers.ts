import { mayCharge } from '../charging/connect.ts';
import type { Tx } from '../db/transaction.ts';
import { wakeTopUpDue } from '../ledger/top-up-due.ts';
import { selectAccounts } from '../merchants/account-store.ts';
import { isOfSource } from '../merchants/accounts.ts';
import type { Source } from '../merchants/source.ts';
import type { EventReading } from '../providers/shared/event-reading.ts';
import { declinedOf } from '../top-ups/store.ts';
import type { EventWork } from './event-work.ts';

/**
 * News of what somebody pays with, which has those of his wallets looked at whose charges were declined. They are looked at once a day
 * without it; whether anything is charged is decided there, by what the provider then says.
 */

type Ignored = Extract<EventReading, { kind: 'ignored' }>;

/** Whether an event that moves no money is applied all the same, to have somebody's wallets looked at. Not at sources that charge nobody. */
export function namesPayer(source: Source, reading: Ignored): reading is Ignored & { readonly payer: string } {
  const isOfMode = reading.livemode === undefined || reading.livemode === (source.mode === 'live');
  return reading.payer !== undefined && isOfMode && mayCharge(source);
}

/** @returns how many wallets are looked at sooner */
export async function wakePayers(tx: Tx, works: readonly EventWork[], now: Date): Promise<number> {
  const news = works.flatMap(({ source, payer, accounts }) =>
    source === null || payer === null ? [] : [{ source, providerCustomerId: payer, accounts }],
  );
  if (news.length === 0) return 0;
  const own = await ofOwnAccounts(tx, news);
  let woken = 0;
  for (const [merchantId, some] of Map.groupBy(own, ({ source }) => source.merchantId)) {
    const payers = new Map(
      some.map(({ source: { sourceId }, providerCustomerId }) => {
        return [`${sourceId}\0${providerCustomerId}`, { sourceId, providerCustomerId }];
      }),
    );
    const keys = await declinedOf(tx, merchantId, [...payers.values()]);
    if (keys.length > 0) woken += await wakeTopUpDue(tx, merchantId, { keys, now });
  }
  return woken;
}

interface PayerNews {
  readonly source: Source;
  readonly providerCustomerId: string;
  /** Named by the event where it is of another account than the endpoint's own. */
  readonly accounts: readonly string[];
}

/** What is said of another account, as a platform hears of those of its users, is of somebody else with the same name at the most. */
async function ofOwnAccounts(tx: Tx, news: readonly PayerNews[]): Promise<readonly PayerNews[]> {
  if (news.every(({ accounts }) => accounts.length === 0)) return news;
  const known = await selectAccounts(
    tx,
    news.map(({ source }) => source),
    [],
  );
  return news.filter(({ source, accounts }) =>
    accounts.every((account) => known.some((one) => one.account === account && isOfSource(one, source))),
  );
}
