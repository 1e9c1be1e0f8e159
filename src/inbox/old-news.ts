import { isDeepStrictEqual } from 'node:util';
import { paymentKeyText } from '../payments/store.ts';
import { type Settled, sourceKey, type Work } from './settle-facts.ts';

/** The detail of an event that was taken in from the provider's API and changed nothing: its webhook was quicker. */
export const OLD_NEWS = 'everything it says was known by the time it was applied';

/** Says so of events that reconciliation took in and that changed nothing. */
export function noteOldNews(works: readonly Work[], { before, after }: Pick<Settled, 'before' | 'after'>): void {
  for (const work of works) {
    const { event, facts, verdict } = work;
    if (event.origin !== 'reconciliation' || verdict.state !== 'applied') continue;
    const keys = facts.map((fact) => paymentKeyText({ ...sourceKey(work), paymentId: fact.paymentId }));
    if (keys.every((key) => isDeepStrictEqual(before.get(key), after.get(key)))) {
      work.verdict = { ...verdict, detail: OLD_NEWS };
    }
  }
}
