import { postingsDue } from '../payments/due.ts';
import type { Payment } from '../payments/payment.ts';
import { settle } from '../payments/settle.ts';
import type { Checkouts } from './checkouts.ts';
import { bothEffects } from './effect.ts';
import type { Due } from './post-due.ts';

/** What is due for payments that were settled before it was known what the wallet paid of their checkouts. */
export function dueOnceKnown(known: ReturnType<Checkouts['heard']>): {
  readonly due: readonly Due[];
  readonly payments: readonly Payment[];
} {
  const due: Due[] = [];
  const payments = known.map(({ payment, work }) => {
    const settled = postingsDue(payment, settle(payment, payment.refunds));
    const from = { payment: settled.after, provider: work.event.provider, traceParent: work.traceParent };
    due.push(...settled.due.map((ordered) => ({ ...from, ordered })));
    if (settled.due.length > 0)
      work.verdict = { ...work.verdict, effect: bothEffects(work.verdict.effect ?? 'none', 'credited') };
    return settled.after;
  });
  return { due, payments };
}
