import type { SessionRefusal } from '../charging/charger.ts';
import { type ConnectCharger, maySellTopUps, type OpenCharger } from '../charging/connect.ts';
import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { transaction } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import type { Source } from '../merchants/source.ts';
import { ProviderApiError } from '../providers/shared/api.ts';
import { saveTopUp } from './attempt-store.ts';
import { lockTopUp, recordNews } from './record.ts';
import { wantsSession } from './session.ts';
import type { TopUp } from './tables.ts';
import { metadataOf } from './tell.ts';

/**
 * Opens what makes the page, before anything is written.
 * @throws {RefusalError} CHARGING_NOT_CONFIGURED, PROVIDER_UNAVAILABLE
 */
export async function sessionCharger(connect: ConnectCharger, source: Source | null): Promise<OpenCharger> {
  if (source === null || !maySellTopUps(source)) return refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  try {
    return (await connect(source)) ?? refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  } catch (error) {
    if (!(error instanceof ProviderApiError)) throw error;
    return refuse({ code: error.kind === 'refused' ? 'CHARGING_NOT_CONFIGURED' : 'PROVIDER_UNAVAILABLE' });
  }
}

/**
 * Has the page made for a top-up that is committed, outside of any transaction, and notes where it is. The same top-up asks for the same
 * page. What its provider refuses for good ends the top-up.
 * @throws {RefusalError} PROVIDER_UNAVAILABLE, CHARGING_NOT_CONFIGURED, INVALID_FIELD
 */
export async function openTopUpSession(
  { pool, clock }: { readonly pool: Pool; readonly clock: Clock },
  topUp: TopUp,
  charger: Pick<OpenCharger, 'createSession'>,
): Promise<TopUp> {
  const { session, topUpId, amount, currency } = topUp;
  invariant(session !== null && session.order !== null, 'a session is made for a top-up that wants none');
  const { expiresAt, ...order } = session.order;
  const answer = await charger.createSession({
    ...{ ...order, orderId: topUpId, amount, currency, metadata: metadataOf(topUp) },
    expiresAt: new Date(expiresAt),
  });
  if (answer.kind === 'unknown') return refuse({ code: 'PROVIDER_UNAVAILABLE' });
  const after = await transaction(pool, async (tx) => {
    const locked = await lockTopUp(tx, topUp);
    if (locked === null || !wantsSession(locked.topUp)) return locked?.topUp ?? topUp;
    if (answer.kind === 'refused') {
      const recorded = await recordNews(tx, locked, { news: { kind: 'session_refused' }, now: clock.now() });
      return recorded?.topUp ?? locked.topUp;
    }
    const { sessionId, url } = answer;
    const made = { ...locked.topUp, session: { ...session, sessionId, url } };
    await saveTopUp(tx, made);
    return made;
  });
  return answer.kind === 'refused' ? refuseSession(answer.reason) : after;
}

const FIELDS: Readonly<Record<Exclude<SessionRefusal, 'key'>, readonly [field: string, wants: string]>> = {
  amount_too_small: ['amount', 'is less than the provider charges'],
  amount_too_large: ['amount', 'is more than the provider charges'],
  amount_unit: ['amount', 'wants a whole number of the unit in which the provider counts this currency'],
  currency: ['currency', 'is not one that the provider charges in'],
  expiry: ['expires_in_seconds', 'is over, or too near: begin another top-up'],
  address: ['session', 'wants success_url and cancel_url to be addresses that the provider takes'],
  request: ['session', 'is refused by the provider'],
};

function refuseSession(reason: SessionRefusal): never {
  if (reason === 'key') return refuse({ code: 'CHARGING_NOT_CONFIGURED' });
  const [field, wants] = FIELDS[reason];
  return refuse({ code: 'INVALID_FIELD', field, wants });
}
