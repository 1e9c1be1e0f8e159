import { typeidUnboxed } from 'typeid-js';

/** The prefix says what an id names; the rest is a UUIDv7, so ids sort by time. Prefixes are Dodo's if Dodo has one. */
const PREFIXES = {
  merchant: 'bus',
  customer: 'cus',
  event: 'evt',
  endpoint: 'ep',
  // Not `msg`: see outgoing/message-ids.ts.
  message: 'whm',
  apiKey: 'key',
  attempt: 'atmpt',
  source: 'src',
  sourceSecret: 'sec',
  reconciliation: 'rec',
  recovery: 'rcv',
  scheduledEntry: 'sen',
  keyWarning: 'kwn',
  topUp: 'top',
  checkout: 'chk',
} as const;

export type IdKind = keyof typeof PREFIXES;

/** A new id such as `cus_01h2xcejqtf2nbrexx3vqjhp41`. */
export function newId(kind: IdKind): string {
  return typeidUnboxed(PREFIXES[kind]);
}
