import { invariant } from '../errors.ts';
import type { Checkout } from '../ledger/checkouts/checkout.ts';
import {
  type DueCheckout,
  dueCheckouts,
  lockDueCheckouts,
  merchantsWithDueCheckouts,
  putOffCheckouts,
} from '../ledger/checkouts/due.ts';
import { saveCheckouts } from '../ledger/checkouts/store.ts';
import { releaseFor } from '../ledger/checkouts/take.ts';
import { postBatch } from '../ledger/store.ts';
import { tellOfCheckouts } from '../outgoing/checkouts.ts';
import type { DueKind } from '../schedules/due.ts';

/** Checkouts that nobody has paid in time. What was held may have ended before, by any command on the wallet. */
export const DUE_CHECKOUTS: DueKind<DueCheckout> = {
  name: 'checkouts',
  pageSize: 100,
  merchants: merchantsWithDueCheckouts,
  page: dueCheckouts,
  async settle(tx, { merchantId, keys }, moment) {
    const checkouts = await lockDueCheckouts(tx, merchantId, { keys, now: moment.now });
    if (checkouts.length === 0) return null;
    const holding = checkouts.filter(({ holdNo }) => holdNo !== null);
    // What is over ends in a currency that is not configured any more, too.
    const currencies = new Set(checkouts.map(({ currency }) => currency));
    // The end comes first, so that the hold has expired; it is answered as it is.
    const results = await postBatch(tx, holding.map(releaseFor), { ...moment, currencies });
    for (const result of results) {
      invariant(result.kind === 'changed' && result.hold.state !== 'open', 'a checkout ended and its hold did not');
    }
    const expired = checkouts.map((one): Checkout => ({ ...one, state: 'expired' }));
    await saveCheckouts(tx, merchantId, expired);
    const notices = expired.map((checkout) => ({ type: 'checkout.expired', checkout }) as const);
    await tellOfCheckouts(tx, notices, moment.now);
    return expired;
  },
  putOff: (db, { merchantId, keys }, times) => putOffCheckouts(db, merchantId, { keys, ...times }),
};
