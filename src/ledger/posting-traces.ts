import { eachMerchant } from '../db/by-merchant.ts';
import { text } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { matches } from '../db/table.ts';
import type { Tx } from '../db/transaction.ts';
import type { Tracing } from '../telemetry/tracing.ts';
import { type Posting, type WalletKey, walletKeyText } from './entry.ts';
import { isInOutbox } from './in-outbox.ts';
import type { CommandResult, LedgerCommand, PostingResult } from './post.ts';
import { OWN_KEY, WALLET_KEY } from './tables.ts';

/** Follows postings of concurrent callers through the batches that they share. Where traces are off, it does nothing. */
export class PostingTraces {
  readonly #tracing: Tracing;
  readonly #traceParents = new WeakMap<object, string>();

  constructor(tracing: Tracing) {
    this.#tracing = tracing;
  }

  get isOn(): boolean {
    return this.#tracing.isOn;
  }

  /** Does the posting in a span of its own, which goes on with the caller's trace if it named one. */
  follow(
    posting: Posting,
    parent: string | string[] | undefined,
    submit: (posting: Posting) => Promise<PostingResult>,
  ): Promise<PostingResult> {
    return this.isOn ? this.#follow(posting, parent, submit) : submit(posting);
  }

  async #follow(
    posting: Posting,
    parent: string | string[] | undefined,
    submit: (posting: Posting) => Promise<PostingResult>,
  ): Promise<PostingResult> {
    const span = this.#tracing.start('post entry', {
      kind: 'server',
      parent: typeof parent === 'string' ? parent : null,
      attributes: { 'chokin.direction': posting.isCredit ? 'credit' : 'debit' },
    });
    if (span.traceParent !== null) this.#traceParents.set(posting, span.traceParent);
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

  /** For the messages about a batch; see {@link noteTraces}. */
  async note(tx: Tx, commands: readonly LedgerCommand[], outcomes: readonly CommandResult[]): Promise<void> {
    if (!this.isOn) return;
    await noteTraces(
      tx,
      outcomes,
      commands.map((command) => this.#traceParents.get(command) ?? null),
    );
  }
}

/**
 * Notes on the work list by which trace each wallet's news came, so that the message goes on with it. Of several
 * traces the first counts, which has waited longest, until the announcer has taken it up. To be called after the batch is
 * written and before it is committed, while its wallets are locked.
 * @param traceParents of each outcome's posting, in order; null where it has none
 */
export async function noteTraces(
  tx: Tx,
  outcomes: readonly CommandResult[],
  traceParents: readonly (string | null)[],
): Promise<void> {
  const traced = new Map<string, WalletKey & { readonly traceParent: string }>();
  for (const [index, outcome] of outcomes.entries()) {
    const traceParent = traceParents[index] ?? null;
    if (traceParent === null || outcome.kind !== 'created') continue;
    const wallet = walletKeyText(outcome.wallet);
    if (!traced.has(wallet)) traced.set(wallet, { ...outcome.wallet, traceParent });
  }
  await eachMerchant([...traced.values()], (merchantId, traces) => NOTE_TRACES.run(tx, { merchantId, traces }));
}

const TAKES_TRACE = '(u.trace_parent is null or u.claimed_version is not null)';

const NOTE_TRACES = statement({
  name: 'note-traces',
  params: { merchantId: text, traces: rowsOf({ ...OWN_KEY, traceParent: text }) },
  text: ({ merchantId, traces }) => `
    update unannounced_wallet u
    set trace_parent = n.trace_parent
    from ${traces('n', { merchantId })}
    where ${isInOutbox(merchantId, traces('k'))} and ${matches(WALLET_KEY, 'u', 'n')}
      and ${TAKES_TRACE}`,
  textOnCitus: ({ merchantId, traces }) => `
    update unannounced_wallet u
    set trace_parent = n.trace_parent
    from ${traces('n', { merchantId })}
    where ${matches(WALLET_KEY, 'u', 'n')} and ${TAKES_TRACE}`,
});
