/**
 * What a wallet service must do, as simply as it can be said: a few maps, no database, one thing after another. It is
 * written from the README of the ledger and the table of payments, not from their code.
 */

export interface EntryRequest {
  readonly customerId: string;
  readonly currency: string;
  readonly amount: number;
  readonly isCredit: boolean;
  readonly key: string | null;
}

/** What becomes of a request; `kind` is `created`, `repeated` or the code of the refusal. */
export interface ModelOutcome {
  readonly kind: string;
  /** What the wallet held after the entry. */
  readonly balance?: number;
  /** The entry's place, where it was written before. */
  readonly seq?: number;
  readonly details?: { readonly available: number; readonly required: number; readonly shortfall: number };
}

export interface PaymentPlan {
  readonly paymentId: string;
  /** Whom it names. */
  readonly customerId: string;
  /** Whom its refunds name: the same, unless somebody made a mistake. */
  readonly refundsName: string;
  readonly purpose: 'topup' | 'order' | 'none';
  readonly paid: number;
  /** What a top-up grants, where that is not what was paid. */
  readonly grants: number | null;
}

/** What the provider tells of a payment. */
export type News =
  | { readonly kind: 'payment'; readonly state: PaymentState }
  | {
      readonly kind: 'refund' | 'dispute';
      readonly state: PartState;
      readonly partId: string;
      readonly amount: number;
    };

/** An event of the provider, and what has become of it. */
export interface ModelEvent {
  readonly eventId: string;
  readonly payment: ModelPayment;
  readonly news: News;
  readonly body: string;
  /** Empty until it is looked at. */
  verdict: string;
  waitingSince: number | null;
  /** Whom a person gave it to. */
  assignedTo: string | null;
}

export type PaymentState = 'pending' | 'failed' | 'succeeded';
export type PartState = 'pending' | 'open' | 'succeeded' | 'lost' | 'failed' | 'won';

const RANK = { unknown: 0, pending: 1, failed: 2, succeeded: 3 };
const PART_RANK = { pending: 0, open: 0, succeeded: 1, lost: 1, failed: 2, won: 2 };

export class ModelPayment {
  readonly plan: PaymentPlan;
  state: PaymentState | 'unknown' = 'unknown';
  customerId: string | null = null;
  /** Its early refund has waited long enough, and counts as an order's. */
  hasWaited = false;
  /** What it has changed the wallet by. */
  posted = 0;
  readonly events: ModelEvent[] = [];
  readonly #parts = new Map<string, { readonly isRefund: boolean; readonly amount: number; state: PartState }>();

  constructor(plan: PaymentPlan) {
    this.plan = plan;
  }

  tell(news: News): void {
    if (news.kind === 'payment') {
      if (RANK[news.state] >= RANK[this.state]) this.state = news.state;
      return;
    }
    const { partId, amount, state } = news;
    const part = this.#parts.get(partId) ?? { isRefund: news.kind === 'refund', amount, state };
    if (PART_RANK[state] > PART_RANK[part.state]) part.state = state;
    this.#parts.set(partId, part);
  }

  #sum(wanted: 'refunds' | 'all'): number {
    const counts = [...this.#parts.values()].filter(({ isRefund, state }) =>
      isRefund ? state === 'succeeded' : wanted === 'all' && state === 'lost',
    );
    return counts.reduce((sum, { amount }) => sum + amount, 0);
  }

  /** What it should have changed the wallet by, and whether there is anything to post at all where nothing was yet. */
  get due(): { readonly target: number; readonly isMoney: boolean } {
    const { purpose, paid, grants } = this.plan;
    const refunds = this.#sum('refunds');
    if (this.state === 'unknown') {
      const target = this.hasWaited ? refunds : 0;
      return { target, isMoney: target > 0 };
    }
    if (this.state !== 'succeeded' || paid === 0 || purpose === 'none') return { target: 0, isMoney: false };
    if (purpose === 'order') return { target: Math.min(paid, refunds), isMoney: refunds > 0 };
    const granted = grants ?? paid;
    // Small enough here for a product to be exact.
    return { target: granted - Math.floor((granted * Math.min(paid, this.#sum('all'))) / paid), isMoney: true };
  }
}

/** Two currencies, some customers, and payments in USD. */
export class WalletModel {
  readonly customers: readonly string[];
  readonly payments: readonly ModelPayment[];
  readonly events: ModelEvent[] = [];
  /** By customer and currency. */
  readonly wallets = new Map<string, { balance: number; version: number }>();
  readonly requests: EntryRequest[] = [];
  /** Counts the waits that are over. */
  now = 0;
  readonly #carriedOut = new Map<
    string,
    { readonly request: EntryRequest; readonly balance: number; readonly seq: number }
  >();

  constructor(customers: readonly string[], plans: readonly PaymentPlan[]) {
    this.customers = customers;
    this.payments = plans.map((plan) => new ModelPayment(plan));
    for (const customerId of customers) {
      for (const currency of ['USD', 'INR']) this.wallets.set(`${customerId} ${currency}`, { balance: 0, version: 0 });
    }
  }

  balanceOf({ customerId, currency }: Pick<EntryRequest, 'customerId' | 'currency'>): number {
    return this.wallets.get(`${customerId} ${currency}`)?.balance ?? 0;
  }

  /** A request of the merchant. */
  post(request: EntryRequest): ModelOutcome {
    const { customerId, currency, amount, isCredit, key } = request;
    const before = key === null ? undefined : this.#carriedOut.get(`${customerId} ${key}`);
    if (before !== undefined) {
      const isSame = JSON.stringify(before.request) === JSON.stringify(request);
      return isSame
        ? { kind: 'repeated', balance: before.balance, seq: before.seq }
        : { kind: 'IDEMPOTENCY_KEY_REUSED' };
    }
    if (currency === 'XTS') return { kind: 'UNSUPPORTED_CURRENCY' };
    const wallet = this.wallets.get(`${customerId} ${currency}`);
    if (wallet === undefined) return { kind: 'CUSTOMER_NOT_FOUND' };
    if (!isCredit && wallet.balance < amount) {
      const details = { available: Math.max(wallet.balance, 0), required: amount, shortfall: amount - wallet.balance };
      return { kind: 'INSUFFICIENT_WALLET_FUNDS', details };
    }
    wallet.balance += isCredit ? amount : -amount;
    wallet.version += 1;
    if (key !== null) {
      this.#carriedOut.set(`${customerId} ${key}`, { request, balance: wallet.balance, seq: wallet.version });
      this.requests.push(request);
    }
    return { kind: 'created', balance: wallet.balance };
  }

  /** An event of the provider, for the first time; a repetition of one changes nothing and need not be told. */
  receive(told: Pick<ModelEvent, 'eventId' | 'payment' | 'news' | 'body'>): void {
    const event: ModelEvent = { ...told, verdict: '', waitingSince: null, assignedTo: null };
    this.events.push(event);
    event.payment.events.push(event);
    this.apply(event);
  }

  /** Looks at an event, for the first time or again. */
  apply(event: ModelEvent): void {
    event.verdict = this.#verdictOn(event);
    const { payment } = event;
    if (event.verdict === 'waiting') event.waitingSince ??= this.now;
    if (event.news.kind !== 'payment' || event.verdict !== 'applied') return;
    for (const other of payment.events) if (other !== event && WAKEABLE.has(other.verdict)) this.apply(other);
  }

  #verdictOn(event: ModelEvent): string {
    const { payment, news } = event;
    const { kind, state } = news;
    const isPaid = kind === 'payment' && state === 'succeeded';
    if (isPaid && payment.customerId !== null && payment.customerId !== payment.plan.customerId) {
      return 'parked: customer_mismatch';
    }
    payment.tell(news);
    const isPatient = event.waitingSince === null || event.waitingSince === this.now;
    const needsPayment = (kind === 'refund' && state === 'succeeded') || (kind === 'dispute' && state === 'lost');
    const isEarly = needsPayment && payment.state !== 'succeeded';
    if (isEarly && isPatient) return 'waiting';
    if (isEarly && (kind === 'dispute' || payment.state !== 'unknown')) return 'parked: unknown_payment';
    if (isEarly) payment.hasWaited = true;
    const isAsked = isPaid
      ? payment.plan.purpose !== 'none' && payment.plan.paid > 0
      : kind === 'refund' && needsPayment && !isPatient;
    const whose = event.assignedTo ?? (kind === 'refund' ? payment.plan.refundsName : payment.plan.customerId);
    const isKnown = this.customers.includes(whose);
    if (isAsked && isKnown) payment.customerId ??= whose;
    return this.#settle(payment) ? 'applied' : `parked: ${isAsked && !isKnown ? 'unknown_customer' : 'no_customer'}`;
  }

  /** @returns false if there is money, or will be, and it is not known whose */
  #settle(payment: ModelPayment): boolean {
    const { target, isMoney } = payment.due;
    const { purpose, paid } = payment.plan;
    if (payment.customerId === null) {
      return !isMoney && !(payment.state === 'succeeded' && purpose === 'order' && paid > 0);
    }
    const wallet = this.wallets.get(`${payment.customerId} USD`);
    if (wallet !== undefined) wallet.balance += target - payment.posted;
    payment.posted = target;
    return true;
  }
}

/** What the news of its payment takes up again. */
const WAKEABLE: ReadonlySet<string> = new Set(['waiting', 'parked: unknown_payment', 'parked: no_customer']);
