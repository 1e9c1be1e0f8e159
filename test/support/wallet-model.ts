/**
 * What a wallet service must do, as simply as possible: a few maps, no database, one thing after another. It is written from
 * the README of the ledger and from the table in docs/payments.md, not from the code.
 */

export interface EntryRequest {
  readonly customerId: string;
  readonly currency: string;
  readonly amount: number;
  readonly isCredit: boolean;
  readonly key: string | null;
}

/** The result of a request; `kind` is `created`, `repeated` or the code of the refusal. */
export interface ModelResult {
  readonly kind: string;
  /** What the wallet held after the entry. */
  readonly balance?: number;
  /** The entry's place, where it was written before. */
  readonly seq?: number;
  readonly details?: { readonly available: number; readonly required: number; readonly shortfall: number };
}

/** What may happen in a wallet: all, nothing that the merchant takes, nothing but what payments do. */
export type ModelStatus = 'active' | 'frozen' | 'closed';

export interface StatusRequest {
  readonly customerId: string;
  readonly currency: string;
  readonly status: ModelStatus;
}

interface ModelWallet {
  balance: number;
  version: number;
  status: ModelStatus;
}

export interface PaymentPlan {
  readonly paymentId: string;
  /** The customer that it names. */
  readonly customerId: string;
  /** The customer that its refunds name: the same, unless somebody made a mistake. */
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
  /** The customer to whom a person gave it. */
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
  /** News of the payment itself is parked, so its refunds do not count as an order's. */
  isHeardOf = false;
  #parts = new Map<string, { readonly isRefund: boolean; readonly amount: number; state: PartState }>();

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

  knows(partId: string): boolean {
    return this.#parts.has(partId);
  }

  /** @returns a function that brings this state back, since an event that is parked or waits must change nothing */
  remember(): () => void {
    const { state, customerId, hasWaited } = this;
    const parts = new Map([...this.#parts].map(([id, part]) => [id, { ...part }]));
    return () => {
      Object.assign(this, { state, customerId, hasWaited });
      this.#parts = parts;
    };
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
    // A first try that failed does not undo what a refund gave: it was evidently paid.
    if (this.state !== 'succeeded') {
      const target = this.hasWaited ? refunds : 0;
      return { target, isMoney: target > 0 };
    }
    if (paid === 0 || purpose === 'none') return { target: 0, isMoney: false };
    if (purpose === 'order') return { target: Math.min(paid, refunds), isMoney: refunds > 0 };
    const granted = grants ?? paid;
    // The amounts of the model are small, so the product is exact.
    return { target: granted - Math.floor((granted * Math.min(paid, this.#sum('all'))) / paid), isMoney: true };
  }
}

/** Two currencies, some customers, and payments in USD. */
export class WalletModel {
  readonly customers: readonly string[];
  readonly payments: readonly ModelPayment[];
  readonly events: ModelEvent[] = [];
  /** By customer and currency. */
  readonly wallets = new Map<string, ModelWallet>();
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
      for (const currency of ['USD', 'INR'])
        this.wallets.set(`${customerId} ${currency}`, { balance: 0, version: 0, status: 'active' });
    }
  }

  balanceOf({ customerId, currency }: Pick<EntryRequest, 'customerId' | 'currency'>): number {
    return this.wallets.get(`${customerId} ${currency}`)?.balance ?? 0;
  }

  /** A request of the merchant. */
  post(request: EntryRequest): ModelResult {
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
    if (wallet.status === 'closed') return { kind: 'WALLET_CLOSED' };
    if (wallet.status === 'frozen' && !isCredit) return { kind: 'WALLET_FROZEN' };
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

  /** Freezes, closes or opens a wallet. */
  setStatus({ customerId, currency, status }: StatusRequest): ModelResult {
    const wallet = this.wallets.get(`${customerId} ${currency}`);
    if (wallet === undefined) return { kind: currency === 'XTS' ? 'UNSUPPORTED_CURRENCY' : 'CUSTOMER_NOT_FOUND' };
    if (status === 'closed' && wallet.balance !== 0) return { kind: 'WALLET_NOT_EMPTY' };
    wallet.status = status;
    return { kind: status };
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
    const forget = payment.remember();
    const verdict = this.#judge(event);
    if (verdict !== 'applied') forget();
    if (verdict.startsWith('parked') && news.kind === 'payment') payment.isHeardOf = true;
    return verdict;
  }

  #judge(event: ModelEvent): string {
    const { payment, news } = event;
    const { kind, state } = news;
    const isPaid = kind === 'payment' && state === 'succeeded';
    if (isPaid && payment.customerId !== null && payment.customerId !== payment.plan.customerId) {
      return 'parked: customer_mismatch';
    }
    const isPatient = event.waitingSince === null || event.waitingSince === this.now;
    const isEarly = payment.state !== 'succeeded' && (kind === 'refund' || (kind === 'dispute' && state === 'lost'));
    // The shop sells orders.
    const isOrders =
      kind === 'refund' &&
      ((payment.hasWaited && payment.knows(news.partId)) || (payment.state === 'unknown' && !payment.isHeardOf));
    payment.tell(news);
    if (isEarly && isPatient) return 'waiting';
    if (isEarly && !isOrders) return 'parked: unknown_payment';
    if (isEarly) payment.hasWaited = true;
    const isAsked = isPaid
      ? payment.plan.purpose !== 'none' && payment.plan.paid > 0
      : kind === 'refund' && state === 'succeeded' && !isPatient;
    const whose = event.assignedTo ?? (kind === 'refund' ? payment.plan.refundsName : payment.plan.customerId);
    const isKnown = this.customers.includes(whose);
    if (isAsked && isKnown) payment.customerId ??= whose;
    if (this.#settle(payment)) return 'applied';
    if (isAsked && !isKnown) return 'parked: unknown_customer';
    return isEarly ? 'parked: unknown_payment' : 'parked: no_customer';
  }

  /** @returns false if there is money, or will be, and it is not known whose */
  #settle(payment: ModelPayment): boolean {
    const { target, isMoney } = payment.due;
    const { purpose, paid } = payment.plan;
    if (payment.customerId === null) {
      return !isMoney && !(payment.state === 'succeeded' && purpose === 'order' && paid > 0);
    }
    const wallet = this.wallets.get(`${payment.customerId} USD`);
    if (wallet !== undefined && target !== payment.posted) {
      wallet.balance += target - payment.posted;
      // Somebody has to look at what comes to a wallet that was closed.
      if (wallet.status === 'closed') wallet.status = 'frozen';
    }
    payment.posted = target;
    return true;
  }
}

/** What the news of its payment takes up again. */
const WAKEABLE: ReadonlySet<string> = new Set(['waiting', 'parked: unknown_payment', 'parked: no_customer']);
