import type { Checkout } from '../ledger/checkouts/checkout.ts';
import type { KeyVersion } from '../ledger/keys.ts';
import type { Fact, MovementFact, TrustedName } from './fact.ts';
import type { CaptureRule, DisputeRule, PaymentPurpose, RefundPolicy } from './purpose.ts';
import type { PartState, Report } from './report.ts';

/**
 * One payment: everything that its events told, in whatever order they came, and what the wallet has received for it so far.
 */
export interface Payment {
  readonly merchantId: string;
  readonly sourceId: string;
  readonly paymentId: string;
  /** `unknown`: only refunds or disputes of it have arrived so far. */
  readonly state: 'unknown' | 'pending' | 'failed' | 'succeeded';
  readonly purpose: PaymentPurpose | null;
  /** The checkout that it names, and completes if its purpose says so. */
  readonly checkoutId: string | null;
  readonly customerId: string | null;
  /** Who named that customer where no payer could have; null if the payment itself or a link did. */
  readonly namedBy: NamedBy | null;
  /** The invoice that it pays, by the provider's id; null if none was told. */
  readonly groupId: string | null;
  /** What its refunds do, by the setting of its source when the payment was first heard of. */
  readonly refunds: RefundPolicy;
  /** What its open disputes do, likewise. `record` for what was heard of before holds were placed. */
  readonly disputes: DisputeRule;
  /** Whether its authorisation counts as the money, by the setting of its source when the payment was first heard of. */
  readonly capture: CaptureRule;
  readonly currency: string | null;
  /** What was captured if that is told, else what was paid at once. */
  readonly amountPaid: number | null;
  /** What a top-up grants, if the metadata says another amount than was paid; what was accepted for credit that was bought with a checkout. */
  readonly creditAmount: number | null;
  /** Whether its bonus is an entry of its own. Not where what it grants was decided by a release that knew of no bonuses. */
  readonly bonusSplit: boolean;
  /** What a top-up grants on top of what was paid, decided at its first success; null before that, 0 for nothing. */
  readonly bonusAmount: number | null;
  /** What is to be paid for the whole bonus, of which less gives a share; null: what was authorised, or else paid. */
  readonly bonusPrice: number | null;
  /** The rule that gave the bonus; null if none did. */
  readonly bonusRuleId: string | null;
  /** For how many days the bonus can be spent, and what was paid; null: it does not end. */
  readonly bonusDays: number | null;
  readonly paidDays: number | null;
  /** The hash of the token whose terms it follows; null if it follows none. */
  readonly tokenHash: string | null;
  /** What must be paid by these terms before anything is credited. What was accepted for a checkout; null until it has completed that. */
  readonly agreedAmount: number | null;
  /** A refund came before its payment and has waited for the longest time; it counts as the refund of an order. */
  readonly waitedOut: boolean;
  /** News of the payment itself has come and is parked; its refunds wait for that. */
  readonly heardOf: boolean;
  /** When it succeeded, by the provider's earliest time, in milliseconds; null if that is not told. */
  readonly paidAt: number | null;
  /** When a try of it failed last, likewise by the latest time; null if none did, or nobody says when. */
  readonly failedAt: number | null;
  /** When it was being tried last, likewise; null if it never was, a failure of unknown time came since, or nobody says when. */
  readonly pendingAt: number | null;
  /** What the wallet holds of the payment itself, net, by entries written. */
  readonly postedCredit: number;
  /** What of the wallet's part of its checkout went back because its captures fell, net; the wallet holds it besides. */
  readonly postedReturn: number;
  /** How many entries the payment itself has caused; it numbers their keys. */
  readonly postings: number;
  /** What the wallet holds of its bonus, net but for what its parts took, and how many entries it was written by. */
  readonly postedBonus: number;
  readonly bonusPostings: number;
  /** How much of the bonus expired or was voided when its entries were last decided. */
  readonly bonusLost: number;
  /** What of that was lost before it came to the wallet of its customer, less what was lost there before. */
  readonly bonusLostBefore: number;
  /** How much of what was paid was undone then, and how much that was; null if nothing was decided yet. */
  readonly bonusUndone: number;
  readonly bonusPaid: number | null;
  /** How the keys of its entries are made; fixed when it was first stored. */
  readonly keyVersion: KeyVersion;
  /** The source it was adopted from, whose id stays in the keys of its entries; null if its own source's id does. */
  readonly keySource: string | null;
  /** The former release stored it, or parts of it, so its events must be read again. */
  readonly isUnread: boolean;
  /** How often it was given to another customer by hand. After that no customer named in its events counts any more. */
  readonly moves: number;
  /** Refunds and disputes in the order in which they settled; those that are pending or open keep their place until then. */
  readonly parts: readonly PaymentPart[];
  /** Captures and other movements, which have no entries of their own. */
  readonly movements: readonly Movement[];
  /** What its dismissed events told, which a person handled by hand. */
  readonly handled: readonly Handled[];
  /** What its refunds do by the checkout that it has completed; not stored with it, but read beside it. */
  readonly checkout?: CheckoutTerms;
}

/** What of a checkout decides what becomes of its wallet's part when its payment is refunded. */
export interface CheckoutTerms {
  /** What the wallet paid; null while that is not known yet, since the checkout is being completed. */
  readonly captured: number | null;
  readonly refunds: Checkout['walletRefunds'];
}

type NamedBy = TrustedName['by'] | 'operator';

/** Up to where a dispute holds nothing, and who said so. */
export interface LiftedRound {
  readonly stage: number;
  /** When the newest news of that round was, by the provider's clock, in milliseconds. */
  readonly at: number;
  readonly actor: 'cli';
  /** By the service's clock, likewise. */
  readonly liftedAt: number;
}

export interface PaymentPart {
  readonly kind: 'refund' | 'dispute';
  readonly partId: string;
  readonly ordinal: number;
  readonly role: PartRole;
  readonly state: PartState;
  /** Null for a refund of all that is left. */
  readonly amountMinor: number | null;
  readonly currency: string | null;
  /** Credited to the wallet for this part, net of what was taken back again. */
  readonly postedCredit: number;
  /** Taken from the wallet for this part, net of what was given back again. */
  readonly postedTake: number;
  readonly postings: number;
  /** Taken of the payment's bonus on its account, net of what was given back again, and by how many entries. */
  readonly postedBonusTake: number;
  readonly bonusPostings: number;
  /** What losing it would take while it is open and its hold stands, whether all of it is held or not; 0: nothing is wanted. */
  readonly holdWanted: number;
  /** The number of its open hold in the customer's wallet; null if it has none. */
  readonly holdNo: number | null;
  /** How often a hold was wanted anew, which numbers their keys. */
  readonly holds: number;
  /** The round of a dispute whose hold an operator lifted, so that it holds nothing any more; null if none was. */
  readonly lifted: LiftedRound | null;
  /** All reports of it; `state` and `amountMinor` follow from them. */
  readonly reports: readonly Report[];
  /** When a dispute of the role `informs` was opened, in milliseconds. */
  readonly openedAt: number | null;
}

/**
 * `object`: a refund or dispute of which the newest report counts. `total`: a sum of refunds that only grows. `movement`:
 * money that went back once. `informs`: a dispute, or a sum of refunds, that may tell the same money as other parts.
 */
export type PartRole = 'object' | 'total' | 'movement' | 'informs';

export interface Movement {
  readonly kind: MovementFact['movement'] | 'authorisation' | 'uncaptured';
  readonly movementId: string;
  readonly state: PartState;
  readonly amountMinor: number;
  readonly currency: string | null;
  readonly reports: readonly Report[];
}

/** One movement, or the payment itself, that a person handled by hand. */
export interface Handled {
  readonly eventId: string;
  readonly fact: Fact;
  /** What the payment was for, if this is the payment's success and tells it. */
  readonly intent: PaymentIntent | null;
  readonly customerId: string | null;
  /** What was credited or debited by hand, in minor units; 0 if nothing was owed, null if nobody told the amount. */
  readonly amountMinor: number | null;
  /** The entry by which it was done. */
  readonly entryId: string | null;
  readonly note: string | null;
  readonly handledAt: Date;
}

/** What the wallet should have received for a payment, divided by cause. All amounts are zero or more. */
export interface Target {
  readonly credit: number;
  /** Of the wallet's part of its checkout, because its captures fell. */
  readonly returned: number;
  readonly bonus: number;
  /** One for each part of the payment, in the same order. */
  readonly parts: readonly PartTarget[];
  /** How much of what was paid is undone. */
  readonly undone: number;
  readonly paid: number;
}

export interface PartTarget {
  readonly credit: number;
  readonly take: number;
  /** What it takes of the bonus. */
  readonly bonusTake: number;
}

/** The same, with what is to be held. */
export interface HeldTarget extends Target {
  /** What losing each open dispute would take besides; one for each part of the payment, in the same order. */
  readonly holds: readonly number[];
}

/** What the payment's metadata asks for; null for what it does not say. The last two come from the terms of a token. */
export interface PaymentIntent {
  readonly purpose: PaymentPurpose;
  readonly creditAmount: number | null;
  readonly bonusAmount?: number | null;
  readonly bonusDays?: number | null;
  readonly paidDays?: number | null;
  readonly tokenHash?: string;
  readonly agreedAmount?: number | null;
  readonly checkoutId?: string | null;
}

/**
 * Whether the payment has changed a wallet yet, by entries or by a hold for a dispute; from then on it belongs to its customer. One that was
 * handled by hand may hold what it never posted. One that has completed a checkout belongs to whose that is.
 */
export function hasTouchedWallet({ postings, purpose, agreedAmount, parts }: Payment): boolean {
  if (purpose === 'checkout' && agreedAmount !== null) return true;
  return postings > 0 || parts.some((part) => part.postings > 0 || part.bonusPostings > 0 || part.holds > 0);
}
