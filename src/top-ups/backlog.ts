import { bigint, float, oneOf } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';
import { topUpDueLateSeconds } from '../ledger/top-up-due.ts';
import type { TopUpState } from './attempt.ts';

export interface TopUpBacklog {
  /** Attempts under way by their state, counted up to some 10,000. */
  readonly topUpsInFlight: ReadonlyMap<TopUpState, number>;
  /** Since when the first of those exists that the provider's API called a success and no event has confirmed; 0 if there is none. */
  readonly unconfirmedTopUpSeconds: number;
  /** The same of those whose outcome is not known. */
  readonly unknownTopUpSeconds: number;
  /** How late the most overdue look at a wallet is; 0 if none is. */
  readonly topUpLateSeconds: number;
  /** Counted up to some 10,000. */
  readonly suspendedTopUpRules: number;
}

export async function topUpBacklog(db: Queryable): Promise<TopUpBacklog> {
  const states = await IN_FLIGHT.all(db);
  const oldest = (state: TopUpState) => Math.max(0, states.find((one) => one.state === state)?.seconds ?? 0);
  const { suspended } = await SUSPENDED.one(db);
  return {
    topUpsInFlight: new Map(states.map(({ state, attempts }) => [state, attempts])),
    unconfirmedTopUpSeconds: oldest('charged'),
    unknownTopUpSeconds: oldest('unknown'),
    topUpLateSeconds: await topUpDueLateSeconds(db),
    suspendedTopUpRules: suspended,
  };
}

const IN_FLIGHT = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { state: oneOf<TopUpState>(), attempts: bigint, seconds: float },
  text: () => `
    select state, count(*) as attempts, extract(epoch from now() - min(created_at))::float8 as seconds
    from (select state, created_at from topup where look_at is not null limit 10000) t
    group by state`,
});

const SUSPENDED = statement({
  acrossMerchants: 'a metric of the service',
  params: {},
  row: { suspended: bigint },
  text: () => `
    select count(*) as suspended
    from (select from topup_rule where suspended_reason is not null and enabled limit 10000) r`,
});
