import type { Clock } from '../clock.ts';
import type { Pool } from '../db/pool.ts';
import { autocommit } from '../db/transaction.ts';
import { invariant, refuse } from '../errors.ts';
import type { Source } from '../merchants/source.ts';
import type { Sources } from '../merchants/sources.ts';
import { signedTestEvent } from '../providers/shared/test-event.ts';
import { getEvent, type ProviderEvent } from './events.ts';
import type { Receiver } from './receive.ts';

export interface TestDeliveryServices {
  readonly pool: Pool;
  readonly clock: Clock;
  readonly sources: Pick<Sources, 'find'>;
  readonly receiver: Receiver;
}

/**
 * Delivers a harmless event to a source by the way that its provider's events come in, signed with its newest secret.
 * @returns the event as it was stored
 * @throws {RefusalError} NO_SUCH_SOURCE, SOURCE_DISABLED; TEST_EVENT_UNSIGNABLE where only the provider can sign
 */
export async function deliverTestEvent(
  { pool, clock, sources, receiver }: TestDeliveryServices,
  { merchantId, sourceId }: Pick<Source, 'merchantId' | 'sourceId'>,
): Promise<ProviderEvent> {
  const db = autocommit(pool);
  const source = (await sources.find(db, merchantId, sourceId)) ?? refuse({ code: 'NO_SUCH_SOURCE' });
  if (!source.enabled) refuse({ code: 'SOURCE_DISABLED' });
  const [newest] = source.secrets;
  invariant(newest !== undefined, 'a source without a webhook secret');
  const delivery =
    signedTestEvent(source.provider, { mode: source.mode, secret: newest.reveal(), now: clock.now() }) ??
    refuse({ code: 'TEST_EVENT_UNSIGNABLE' });
  const receipt = await receiver.receive(source, delivery);
  invariant(receipt.kind === 'stored', `a test delivery was ${receipt.kind}`);
  const event = await getEvent(db, merchantId, receipt.eventId);
  invariant(event !== null, 'an event that was just stored is not there');
  return event;
}
