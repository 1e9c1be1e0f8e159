import { invariant } from '../errors.ts';
import type { ClaimedEntry } from '../ledger/claimed.ts';
import type { SkippedGrants, WalletAlert, WalletKey } from '../ledger/entry.ts';
import { entryView } from '../ledger/entry-view.ts';
import type { ClaimedWallet } from '../ledger/outbox.ts';
import { type OutgoingData, type OutgoingEventType, outgoingMessage } from './catalogue.ts';
import { messageIdFrom } from './message-ids.ts';
import type { OutgoingMessage } from './outgoing.ts';

/** What is told of a wallet at a time, a whole claim or a part of it: every entry and alert of its ranges, in order. */
export interface WalletNews extends ClaimedWallet {
  readonly entries: readonly ClaimedEntry[];
  readonly alerts: readonly WalletAlert[];
}

/** Svix advises payloads of at most 40 kB; the 2 kB between are enough for the envelope and the wallet's state. */
const MAX_ENTRIES_BYTES = 38_000;
/**
 * No message is larger, with either sender. Svix documents that it takes payloads of up to about 350 kB (a self-hosted one up to
 * 2 MB), and many receivers take 256 KiB. What the entries leave of it is for the envelope, the wallet's state and Svix's fields.
 */
const MAX_MESSAGE_BYTES = 256 * 1024;
export const MAX_ENTRY_BYTES = MAX_MESSAGE_BYTES - 8 * 1024;

/**
 * The messages of a claim in the order to send them: the wallet's creation, its entries, its alerts. They depend on the claim
 * alone, not on the time or on newer entries, so that a repeat after a crash has the same ids and the same bytes.
 * @throws {InvariantError} if entries or alerts of the claim are missing
 */
export function buildMessages(news: WalletNews): readonly OutgoingMessage[] {
  const { entries, alerts, fromVersion, toVersion, fromAlertSeq, toAlertSeq } = news;
  const isWhole = entries.every((entry, index) => entry.seq === Math.max(fromVersion, 0) + index + 1);
  invariant(isWhole && entries.length === Math.max(toVersion, 0) - Math.max(fromVersion, 0), 'a claim lacks entries');
  invariant(alerts.length === toAlertSeq - fromAlertSeq, 'a claim lacks alerts');
  return [
    ...(fromVersion < 0 ? [createdMessage(news)] : []),
    ...changedMessages(news, entries),
    ...alerts.map(alertMessage),
  ];
}

/** Messages of consecutive entries of a wallet, as few as the limits allow. The same entries give the same ids. */
export function changedMessages(wallet: WalletKey, entries: readonly ClaimedEntry[]): readonly OutgoingMessage[] {
  const heads = new Map(entries.map(({ seq, hash }) => [seq, hash]));
  return inChunks(entries.map(entryData)).map((chunk) => changedMessage(wallet, chunk, heads));
}

/**
 * The entries up to the last boundary between two messages; all of them if they make one message. A part of a claim tells
 * these, so that the messages after it begin at the same entries as if the claim were told at once.
 */
export function wholeMessages(entries: readonly ClaimedEntry[]): readonly ClaimedEntry[] {
  const chunks = inChunks(entries.map(entryData));
  return chunks.length < 2 ? entries : entries.slice(0, entries.length - (chunks.at(-1)?.length ?? 0));
}

type EntryData = OutgoingData<'wallet.balance.changed'>['entries'][number];

/** An entry as it is told. Metadata that would make it too large for any message is left out. */
function entryData({ metadataOmitted = false, ...entry }: ClaimedEntry): EntryData {
  const view = entryView(entry);
  if (view.metadata === null && !metadataOmitted) return view;
  const isTooLarge = metadataOmitted || Buffer.byteLength(JSON.stringify(view)) > MAX_ENTRY_BYTES;
  return isTooLarge ? { ...view, metadata: null, metadata_omitted: true } : view;
}

/** As many entries in a message as fit, at least one; almost always all of them. */
function inChunks(entries: readonly EntryData[]): readonly (readonly EntryData[])[] {
  const chunks: EntryData[][] = [];
  let room = 0;
  for (const entry of entries) {
    const bytes = Buffer.byteLength(JSON.stringify(entry)) + 1;
    const chunk = chunks.at(-1);
    if (chunk === undefined || bytes > room) {
      chunks.push([entry]);
      room = MAX_ENTRIES_BYTES - bytes;
    } else {
      chunk.push(entry);
      room -= bytes;
    }
  }
  return chunks;
}

function createdMessage(wallet: ClaimedWallet): OutgoingMessage {
  const messageId = messageIdOf(wallet, 'wallet.created', { from: 0, to: 0, at: wallet.createdAt });
  const data = { customer_id: wallet.customerId, currency: wallet.currency, balance: 0, version: 0 };
  return outgoingMessage('wallet.created', { merchantId: wallet.merchantId, messageId, at: wallet.createdAt }, data);
}

/** @param heads the hashes of these entries, and perhaps of more, by their seq */
function changedMessage(
  wallet: WalletKey,
  entries: readonly EntryData[],
  heads: ReadonlyMap<number, string | null>,
): OutgoingMessage {
  const first = entries[0];
  const last = entries.at(-1);
  invariant(first !== undefined && last !== undefined, 'a change without entries');
  const at = new Date(last.created_at);
  const messageId = messageIdOf(wallet, 'wallet.balance.changed', { from: first.seq, to: last.seq, at });
  return outgoingMessage(
    'wallet.balance.changed',
    { merchantId: wallet.merchantId, messageId, at },
    {
      customer_id: wallet.customerId,
      currency: wallet.currency,
      balance: last.after_balance,
      version: last.seq,
      head: heads.get(last.seq) ?? null,
      previous_version: first.seq - 1,
      entries: [...entries],
    },
  );
}

const BALANCE_ALERTS = {
  low: 'wallet.balance.low',
  recovered: 'wallet.balance.recovered',
  depleted: 'wallet.balance.depleted',
} as const;

function alertMessage(alert: WalletAlert): OutgoingMessage {
  const { merchantId, customerId, currency, alertSeq, balance, version, createdAt: at } = alert;
  const { kind, details, threshold, reminder } = alert;
  const state = { customer_id: customerId, currency, balance, version };
  const envelopeOf = (type: OutgoingEventType) => {
    return { merchantId, messageId: messageIdOf(alert, type, { from: alertSeq, to: alertSeq, at }), at };
  };
  switch (kind) {
    case 'hold_expired': {
      invariant(details !== null && 'holds' in details, 'an alert of holds names none');
      const type = 'wallet.hold.expired';
      const holds = details.holds.map(({ holdId, referenceObjectId, ...amounts }) => {
        return { hold_id: holdId, ...amounts, reference_object_id: referenceObjectId };
      });
      return outgoingMessage(type, envelopeOf(type), { ...state, available: details.available, holds });
    }
    case 'hold_placed':
    case 'hold_lifted': {
      invariant(details !== null && 'disputeId' in details, 'an alert of a dispute names none');
      const type = kind === 'hold_placed' ? 'wallet.hold.placed' : 'wallet.hold.lifted';
      const { available, holdId, paymentId, disputeId, wanted, held } = details;
      const ids = { hold_id: holdId, payment_id: paymentId, dispute_id: disputeId };
      return outgoingMessage(type, envelopeOf(type), { ...state, available, ...ids, wanted, held });
    }
    case 'credit_expiring': {
      invariant(details !== null && 'noticeDays' in details, 'a notice names no lots');
      const type = 'wallet.credit.expiring';
      const lots = details.lots.map(({ lotId, expiresAt, ...lot }) => ({
        lot_id: lotId,
        ...lot,
        expires_at: expiresAt,
      }));
      return outgoingMessage(type, envelopeOf(type), { ...state, notice_days: details.noticeDays, lots });
    }
    case 'credit_expired':
    case 'credit_voided': {
      invariant(details !== null && 'lots' in details && !('noticeDays' in details), 'an alert names no lots');
      const type = kind === 'credit_expired' ? 'wallet.credit.expired' : 'wallet.credit.voided';
      const lots = details.lots.map(({ lotId, amount }) => ({ lot_id: lotId, amount }));
      return outgoingMessage(type, envelopeOf(type), { ...state, lots });
    }
    case 'scheduled_entry_skipped': {
      invariant(details !== null && 'scheduledEntryId' in details, 'an alert names no scheduled entry');
      const type = 'scheduled_entry.skipped';
      const { scheduledEntryId, amount, isCredit, postAt, code } = details;
      const entry = { scheduled_entry_id: scheduledEntryId, amount, is_credit: isCredit, post_at: postAt, code };
      return outgoingMessage(type, envelopeOf(type), { ...state, ...entry });
    }
    case 'grant_skipped': {
      invariant(details !== null && 'scheduleId' in details, 'an alert names no schedule');
      const type = 'grant.skipped';
      return outgoingMessage(type, envelopeOf(type), { ...state, ...skippedGrants(details) });
    }
    case 'status_changed': {
      invariant(details !== null && 'previousStatus' in details, 'an alert of a status names none');
      const type = 'wallet.status.changed';
      const { status, previousStatus: previous_status, pauseExpiry: pause_expiry, actor } = details;
      return outgoingMessage(type, envelopeOf(type), { ...state, status, previous_status, pause_expiry, actor });
    }
    default:
      return outgoingMessage(BALANCE_ALERTS[kind], envelopeOf(BALANCE_ALERTS[kind]), { ...state, threshold, reminder });
  }
}

function skippedGrants(details: SkippedGrants) {
  return {
    schedule_id: details.scheduleId,
    amount: details.amount,
    from_period: details.fromPeriod,
    to_period: details.toPeriod,
    first_due_at: details.firstDueAt,
    last_due_at: details.lastDueAt,
    reason: details.reason,
  };
}

/** The first and the last version (or number of an alert) that a message tells of, and the time of the last. */
interface MessageRange {
  readonly from: number;
  readonly to: number;
  readonly at: Date;
}

/**
 * The id of a message, by which receivers drop repeats. The time is part of it because a database that was restored from a
 * backup gives the same versions to other entries.
 */
function messageIdOf(key: WalletKey, type: OutgoingEventType, { from, to, at }: MessageRange): string {
  return messageIdFrom([key.merchantId, key.customerId, key.currency, type, from, to, at.toISOString()]);
}
