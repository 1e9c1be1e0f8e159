import type { PgBoss } from 'pg-boss';
import { bossDatabase } from '../../db/queues.ts';
import type { Tx } from '../../db/transaction.ts';
import type { DeliveryKey } from './delivery-store.ts';

/**
 * Has a worker look for deliveries once this transaction is committed. If the job is lost, workers look by themselves within seconds. It names the
 * delivery for workers of releases before, for which the job was all.
 */
export async function wakeDeliverer(
  boss: Pick<PgBoss, 'insert'>,
  tx: Tx,
  { merchantId, messageId, endpointId }: DeliveryKey,
): Promise<void> {
  await boss.insert('deliver-webhook', [{ data: { merchantId, messageId, endpointId } }], { db: bossDatabase(tx) });
}
