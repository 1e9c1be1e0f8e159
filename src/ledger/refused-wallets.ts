import { float } from '../db/codec.ts';
import { statement } from '../db/statement.ts';
import type { Queryable } from '../db/transaction.ts';

/**
 * Makes wallets due now whose next try lies more than `seconds` ahead. Only a refusal puts a try off for that long, and a new release or a
 * corrected setting may have removed its cause. What each wallet is going to tell stays fixed.
 */
export async function retryRefusedWallets(db: Queryable, seconds: number): Promise<void> {
  await RETRY_REFUSED.run(db, { seconds });
}

const RETRY_REFUSED = statement({
  acrossMerchants: 'a start of the worker is for all of them',
  params: { seconds: float },
  text: ({ seconds }) =>
    `update unannounced_wallet set retry_at = null where retry_at > now() + make_interval(secs => ${seconds})`,
});
