import type { PostInput } from '../../src/ledger/book-changes.ts';
import { type Wallet, walletKeyText } from '../../src/ledger/entry.ts';
import { LOT_RULE, MERCHANT, RULE } from './ledger.ts';

export const NOW = new Date('2026-03-01T12:00:00Z');

/** A wallet as the store would have locked it: empty, and in USD of `cus_a` unless told otherwise. */
export function wallet(overrides: Partial<Wallet> = {}): Wallet {
  return {
    merchantId: MERCHANT,
    customerId: 'cus_a',
    currency: 'USD',
    balance: 0,
    version: 0,
    lowThreshold: null,
    alertsArmed: false,
    lowSince: null,
    depletedSince: null,
    lowAlertedAt: null,
    depletedAlertedAt: null,
    alertSeq: 0,
    head: null,
    headVersion: 0,
    held: 0,
    openHolds: 0,
    holdSeq: 0,
    dueAt: null,
    inLots: 0,
    openLots: 0,
    lotSeq: 0,
    status: 'active',
    topUpBelow: null,
    createdAt: new Date('2026-01-01T00:00:00Z'),
    updatedAt: new Date('2026-01-01T00:00:00Z'),
    ...overrides,
  };
}

/** What `post` is given: these wallets, nothing posted before, USD and INR. */
export function postInput(wallets: readonly Wallet[], overrides: Partial<PostInput> = {}): PostInput {
  return {
    wallets: new Map(wallets.map((one) => [walletKeyText(one), one])),
    known: new Map(),
    holds: [],
    lots: [],
    movements: [],
    statuses: new Map(),
    checkouts: new Map(),
    lotRule: LOT_RULE,
    currencies: new Set(['USD', 'INR']),
    rule: RULE,
    now: NOW,
    ...overrides,
  };
}
