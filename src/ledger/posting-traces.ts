import type { Tx } from '../db/transaction.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { type Posting, type WalletKey, walletKeyText } from './entry.ts';
import type { Outcome } from './post.ts';

/** Follows postings of concurrent callers through the batches that they share, where traces are collected. */
export class PostingTraces {
  readonly #tracing: Tracing;
  readonly #traceParents = new WeakMap<Posting, string>();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  /** Does the posting in a span of its own, which goes on with the caller's trace if it named one. */
  async follow(
    posting: Posting,
    parent: string | string[] | undefined,
    submit: (posting: Posting) => Promise<Outcome>,
  ): Promise<Outcome> {
    const span = this.#tracing.start('post entry', {
      kind: 'server',
      parent: typeof parent === 'string' ? parent : null,
      attributes: { 'chokin.direction': posting.isCredit ? 'credit' : 'debit' },
    });
    this.#traceParents.set(posting, span.traceParent);
    try {
      const outcome = await submit(posting);
      const code = outcome.kind === 'refused' ? { 'chokin.code': outcome.refusal.code } : {};
      span.end({ 'chokin.outcome': outcome.kind, ...code });
      return outcome;
    } catch (error) {
      span.end({}, error);
      throw error;
    }
  }

  /** For the announcements of a batch; see {@link noteTraces}. */
  note(tx: Tx, postings: readonly Posting[], outcomes: readonly Outcome[]): Promise<void> {
    return noteTraces(
      tx,
      postings,
      outcomes,
      postings.map((posting) => this.#traceParents.get(posting) ?? null),
    );
  }
}

/**
 * Notes on the work list by which trace each wallet's news came, so that its announcement goes on with it. Of several
 * traces the first counts, which has waited longest, until the announcer has taken it up. To be called after the batch is
 * written and before it is committed, while its wallets are locked.
 * @param traceParents of each posting, in order; null where it has none
 */
export async function noteTraces(
  tx: Tx,
  postings: readonly Posting[],
  outcomes: readonly Outcome[],
  traceParents: readonly (string | null)[],
): Promise<void> {
  const traced = new Map<string, { readonly key: WalletKey; readonly traceParent: string }>();
  for (const [index, posting] of postings.entries()) {
    const traceParent = traceParents[index] ?? null;
    if (traceParent === null || outcomes[index]?.kind !== 'created') continue;
    const text = walletKeyText(posting);
    if (!traced.has(text)) traced.set(text, { key: posting, traceParent });
  }
  if (traced.size === 0) return;
  const rows = [...traced.values()];
  await tx.query(NOTE_TRACES, [
    rows.map(({ key }) => key.merchantId),
    rows.map(({ key }) => key.customerId),
    rows.map(({ key }) => key.currency),
    rows.map(({ traceParent }) => traceParent),
  ]);
}

const NOTE_TRACES = {
  name: 'note-traces',
  text: `
    update unannounced_wallet u
    set trace_parent = n.trace_parent
    from unnest($1::text[], $2::text[], $3::text[], $4::text[]) as n (merchant_id, customer_id, currency, trace_parent)
    where u.merchant_id = n.merchant_id and u.customer_id = n.customer_id and u.currency = n.currency
      and (u.trace_parent is null or u.claimed_version is not null)`,
};
