import { bigint, hex, nullable, text, timestamptz } from '../db/codec.ts';
import { rowsOf, statement } from '../db/statement.ts';
import { columns, pick } from '../db/table.ts';
import type { Queryable } from '../db/transaction.ts';
import { type WalletKey, walletKeyText } from '../ledger/entry.ts';
import { CHAINED_ENTRY, chainedEntries, WALLET, WALLET_KEY } from '../ledger/tables.ts';
import { type Disagreement, MAX_PER_RULE } from './check.ts';
import { type Mark, saveMarks } from './marks.ts';
import type { ProofTimes } from './proved-rules.ts';
import { type Name, Walk } from './walk.ts';

/**
 * Rule 3b: every entry has the hash that follows from it and the entry before it, and every wallet has the hash of its newest
 * entry. Without marks it reads all entries; with them, those that are new. It holds only one page of them at a time.
 */

const WALLETS_PER_PAGE = 500;
/** Few enough for the memory, also if all entries have as much metadata as the API takes. */
const ENTRIES_PER_PAGE = 500;

const HEAD = pick(WALLET.shape, 'merchantId', 'customerId', 'currency', 'balance', 'version', 'head', 'headVersion');

/** How far a run has come. */
export interface AuditProgress {
  readonly wallets: number;
  readonly entries: number;
}

interface ChainSettings {
  /** Null: nothing is noted, and what was noted is not looked at. */
  readonly marking: ProofTimes | null;
  readonly onProgress?: ((progress: AuditProgress & { readonly rule: string }) => void) | undefined;
}

/** @returns what disagrees, and how much was read */
export async function checkChains(
  db: Queryable,
  { marking, onProgress }: ChainSettings,
): Promise<{ readonly found: readonly Disagreement[]; readonly read: AuditProgress }> {
  const { closedAt } = await CLOSED_AT.one(db);
  const found: Disagreement[] = [];
  const name: Name = (rule, key, detail) => {
    if (found.filter((one) => one.rule === rule).length < MAX_PER_RULE)
      found.push({ rule, subject: `${key.merchantId}/${key.customerId}/${key.currency}`, detail });
  };
  let after: WalletKey = { merchantId: '', customerId: '', currency: '' };
  let read: AuditProgress = { wallets: 0, entries: 0 };
  while (found.length < MAX_PER_RULE) {
    const page = marking === null ? await WALLETS.all(db, pageAfter(after)) : await MARKED.all(db, pageAfter(after));
    const last = page.at(-1);
    if (last === undefined) break;
    const walks = page.map((wallet) => {
      const mark = markOf(wallet);
      return new Walk({ wallet, mark, trusts: mark !== null && isTrusted(mark, marking) }, closedAt, name);
    });
    // What is noted as proved is judged by rules 2 to 4 as well, since no later run reads it. Where nothing is, the sums over all entries do.
    const entries = await follow(db, walks, marking !== null);
    if (marking !== null) await note(db, walks, marking.now);
    read = { wallets: read.wallets + walks.length, entries: read.entries + entries };
    onProgress?.({ rule: '3b hash chain', ...read });
    after = last;
  }
  return { found, read };
}

/**
 * Reads what is to be read of some wallets: the next page is asked for before this one is followed, so that the database and this process work at
 * the same time. @returns how many entries that were
 */
async function follow(db: Queryable, walks: readonly Walk[], judges: boolean): Promise<number> {
  const byKey = new Map(walks.map((walk) => [walletKeyText(walk.wallet), walk]));
  let entries = 0;
  for await (const page of ahead(spansOf(walks), (spans) => ENTRIES.all(db, { spans }))) {
    for (const entry of page) byKey.get(walletKeyText(entry))?.take(entry, judges);
    entries += page.length;
  }
  for (const walk of walks) walk.end(judges);
  return entries;
}

/** What is read of each part, in order, one part ahead of whoever takes it. */
async function* ahead<Part, Read>(
  parts: Iterable<Part>,
  readPart: (part: Part) => Promise<Read>,
): AsyncGenerator<Read> {
  let next: Promise<Read> | null = null;
  for (const part of parts) {
    const read = next === null ? [] : [await next];
    next = readPart(part);
    // If it fails while the page before it is looked at, that is said where it is waited for.
    next.catch(() => {});
    yield* read;
  }
  if (next !== null) yield await next;
}

interface Span extends WalletKey {
  readonly fromSeq: number;
  readonly toSeq: number;
}

/** What is to be read, in order, in parts of so many entries. */
function* spansOf(walks: readonly Walk[]): Generator<readonly Span[]> {
  let spans: Span[] = [];
  let room = ENTRIES_PER_PAGE;
  for (const { wallet, fromSeq } of walks) {
    const { merchantId, customerId, currency, version } = wallet;
    for (let from = fromSeq; from <= version; ) {
      const to = Math.min(version, from + room - 1);
      spans.push({ merchantId, customerId, currency, fromSeq: from, toSeq: to });
      room -= to - from + 1;
      from = to + 1;
      if (room > 0) continue;
      yield spans;
      spans = [];
      room = ENTRIES_PER_PAGE;
    }
  }
  if (spans.length > 0) yield spans;
}

async function note(db: Queryable, walks: readonly Walk[], now: Date): Promise<void> {
  const proved = walks.filter((walk) => !walk.hasFindings && !walk.isUnread);
  await saveMarks(
    db,
    proved.map((walk) => walk.markAt(now)),
  );
}

type Marked = WalletKey & {
  readonly markSeq?: number | null;
  readonly markBalance?: number | null;
  readonly markHead?: string | null;
  readonly wholeAt?: Date | null;
};

function markOf({ merchantId, customerId, currency, ...mark }: Marked): Mark | null {
  const { markSeq = null, markBalance = null, markHead: head = null, wholeAt = null } = mark;
  if (markSeq === null || markBalance === null || wholeAt === null) return null;
  return { merchantId, customerId, currency, seq: markSeq, balance: markBalance, head, wholeAt, provedAt: wholeAt };
}

/** Whether reading may begin at a mark. One of a time to come was not made by an audit. */
function isTrusted({ wholeAt }: Mark, marking: ProofTimes | null): boolean {
  return marking !== null && wholeAt >= marking.wholeSince && wholeAt <= marking.now;
}

function pageAfter({ merchantId, customerId, currency }: WalletKey) {
  return { afterMerchantId: merchantId, afterCustomerId: customerId, afterCurrency: currency, limit: WALLETS_PER_PAGE };
}

/**
 * When the last process of a release without the chain ended: as the operator said, else a week after the migration. An entry
 * after that time that has no hash was not written by Chokin.
 */
const CLOSED_AT = statement({
  params: {},
  row: { closedAt: timestamptz },
  text: () => `
    select coalesce(i.release_closed_at, m.run_on + interval '7 days') as closed_at
    from installation i cross join (select max(run_on) as run_on from schema_migration where name = '0018_entry-hash') m`,
});

const AFTER = { afterMerchantId: text, afterCustomerId: text, afterCurrency: text, limit: bigint };

const WALLETS = statement({
  acrossMerchants: 'the audit reads every wallet',
  params: AFTER,
  row: HEAD,
  text: (p) => `
    select ${columns(HEAD, 'w')} from wallet w
    where (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency})
    order by ${columns(WALLET_KEY, 'w')}
    limit ${p.limit}`,
});

const MARKED = statement({
  acrossMerchants: 'the audit reads every wallet',
  params: AFTER,
  row: {
    ...HEAD,
    markSeq: nullable(bigint),
    markBalance: nullable(bigint),
    markHead: nullable(hex),
    wholeAt: nullable(timestamptz),
  },
  text: (p) => `
    select ${columns(HEAD, 'w')}, m.seq as mark_seq, m.balance as mark_balance, m.head as mark_head, m.whole_at
    from wallet w
    left join lateral (
      select * from audit_mark m
      where m.merchant_id = w.merchant_id and m.customer_id = w.customer_id and m.currency = w.currency offset 0) m on true
    where (w.merchant_id, w.customer_id, w.currency) > (${p.afterMerchantId}, ${p.afterCustomerId}, ${p.afterCurrency})
    order by ${columns(WALLET_KEY, 'w')}
    limit ${p.limit}`,
});

const ENTRIES = statement({
  acrossMerchants: 'the audit reads the entries of every wallet',
  params: { spans: rowsOf({ ...WALLET_KEY, fromSeq: bigint, toSeq: bigint }) },
  row: CHAINED_ENTRY,
  text: ({ spans }) => `
    select e.*
    from ${spans('s')}
    cross join lateral (
      select ${chainedEntries('e')}
      where e.merchant_id = s.merchant_id and (e.customer_id, e.currency, e.seq) >= (s.customer_id, s.currency, s.from_seq)
        and (e.customer_id, e.currency, e.seq) <= (s.customer_id, s.currency, s.to_seq)
      order by e.customer_id, e.currency, e.seq
      offset 0) e
    order by e.merchant_id, e.customer_id, e.currency, e.seq`,
  textOnCitus: ({ spans }) => `
    select e.*
    from (select ${chainedEntries('e')}) e
    join ${spans('s')} on e.merchant_id = s.merchant_id and (e.customer_id, e.currency, e.seq) >= (s.customer_id, s.currency, s.from_seq)
      and (e.customer_id, e.currency, e.seq) <= (s.customer_id, s.currency, s.to_seq)
    order by e.merchant_id, e.customer_id, e.currency, e.seq`,
});
