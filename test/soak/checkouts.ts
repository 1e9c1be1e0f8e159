import { setTimeout as delay } from 'node:timers/promises';
import type { Pool } from '../../src/db/pool.ts';
import { stripePayment, stripeRefund } from '../support/signing.ts';
import type { Random } from './plan.ts';
import type { Account, Traffic } from './traffic.ts';

/** A checkout as it was answered, and all that was done about it. */
interface Purchase {
  readonly account: Account;
  readonly walletPart: number;
  readonly paymentPart: number;
  readonly creditBought: number;
  readonly isManual: boolean;
  /** By the first payment of it, tax and all; 0: nobody paid. */
  paid: number;
  refunded: number;
  /** What the API gave back, by its answers. */
  returned: number;
  isCancelled: boolean;
  /** Its time was let pass. */
  isOver: boolean;
}

/** The checkout of an answer. */
export interface CheckoutAnswer {
  readonly checkout_id: string;
  readonly status: string;
  readonly wallet_part: number;
  readonly payment_part: number;
  readonly credit_bought: number;
}

const PAUSE_MS = 100;
const MINIMUM = 50;

/** A shop whose buyers pay, cancel, come back late, pay twice or never, and send things back in portions. */
export class CheckoutTraffic {
  readonly #purchases = new Map<string, Purchase>();
  readonly #traffic: Traffic;
  readonly #letPass: (checkoutId: string) => Promise<void>;
  payments = 0;
  refunds = 0;
  collects = 0;

  /** @param letPass makes a checkout's time be over soon, since none ends within a soak */
  constructor(traffic: Traffic, letPass: (checkoutId: string) => Promise<void>) {
    this.#traffic = traffic;
    this.#letPass = letPass;
  }

  get opened(): number {
    return this.#purchases.size;
  }

  async play(random: Random, signal: AbortSignal): Promise<void> {
    const account = random.pick(this.#traffic.accounts);
    const isManual = random.chance(0.2);
    const body = {
      ...{ total: random.int(1, 3_000), currency: 'USD', idempotency_key: this.#traffic.id('checkout') },
      ...{ gateway_minimum: MINIMUM, allow_credit_purchase: random.chance(0.5), expires_in_seconds: 300 },
      wallet: random.chance(0.8) ? { use: 'max' } : random.chance(0.5) ? { use: 'none' } : { max: random.int(1, 500) },
      amount_check: 'at_least',
      wallet_refunds: isManual ? 'manual' : 'proportional',
    };
    const path = `/customers/${account.customerId}/checkouts`;
    const made = await this.#traffic.answered(random, { path, account, body, codes: ['BELOW_GATEWAY_MINIMUM'] });
    const checkout = made?.checkout ?? (isCheckout(made) ? made : null);
    if (checkout === null) return;
    const { checkout_id: id, wallet_part: walletPart, payment_part: paymentPart } = checkout;
    const purchase: Purchase = {
      ...{ account, walletPart, paymentPart, creditBought: checkout.credit_bought, isManual },
      ...{ paid: 0, refunded: 0, returned: 0, isCancelled: false, isOver: false },
    };
    this.#purchases.set(id, purchase);
    await delay(random.int(0, PAUSE_MS));
    const one = { id, purchase, path: `${path}/${id}`, signal };
    if (paymentPart === 0) {
      if (random.chance(0.5)) await this.#giveBack(random, one);
      return;
    }
    await this.#live(random, one);
  }

  async #live(random: Random, one: One): Promise<void> {
    const { purchase, path, id } = one;
    const { account } = purchase;
    const fate = random.int(1, 10);
    if (fate <= 2) {
      const cancel = { path: `${path}/cancel`, account, body: {}, codes: ['CHECKOUT_NOT_OPEN'] };
      purchase.isCancelled = (await this.#traffic.answered(random, cancel)) !== null;
    } else if (fate <= 4) {
      purchase.isOver = true;
      await this.#letPass(id);
      if (random.chance(0.5)) await delay(random.int(0, 3_000));
    }
    // Some buyers never pay.
    if (random.chance(0.2)) return;
    const isTwice = random.chance(0.1);
    this.#pay(random, one, isTwice);
    await delay(random.int(0, PAUSE_MS));
    if (random.chance(0.4) && !isTwice) this.#refundInPortions(random, one);
    else if (random.chance(0.5)) await this.#collect(random, one);
    if (purchase.isManual && random.chance(0.5)) await this.#giveBack(random, one);
  }

  /** A try that fails, one that is pending, the payment itself, and at times a second one. */
  #pay(random: Random, { id, purchase, signal }: One, isTwice: boolean): void {
    const { account, paymentPart, creditBought } = purchase;
    const charged = paymentPart + creditBought;
    const metadata = { wallet_customer_id: account.customerId, wallet_checkout_id: id };
    const tell = (type: 'succeeded' | 'payment_failed' | 'processing', paymentId: string, amount: number): string => {
      const eventId = this.#traffic.id('evt');
      const body = stripePayment({ type, eventId, paymentId, amount, currency: 'usd', metadata });
      this.#traffic.tell(account, body, random.fork(), signal);
      return eventId;
    };
    if (random.chance(0.2)) tell('payment_failed', this.#traffic.id('pi'), charged);
    if (random.chance(0.2)) tell('processing', paymentOf(id), charged);
    purchase.paid = charged + (random.chance(0.3) ? random.int(1, 300) : 0);
    this.payments += 1;
    const first = tell('succeeded', paymentOf(id), purchase.paid);
    if (!isTwice) return;
    // The one that is heard first counts; a person has to look at the other.
    this.#traffic.oneIsParked.push([first, tell('succeeded', this.#traffic.id('pi_second'), purchase.paid)]);
  }

  #refundInPortions(random: Random, { id, purchase, signal }: One): void {
    const { account, paid } = purchase;
    let left = random.chance(0.4) ? paid : random.int(1, paid);
    while (left > 0) {
      const amount = random.chance(0.4) ? left : random.int(1, left);
      left -= amount;
      purchase.refunded += amount;
      this.refunds += 1;
      const refund = { eventId: this.#traffic.id('evt'), refundId: this.#traffic.id('re'), amount, currency: 'usd' };
      const body = stripeRefund({ ...refund, paymentId: paymentOf(id), status: 'succeeded' });
      this.#traffic.tell(account, body, random.fork(), signal);
    }
  }

  async #collect(random: Random, { path, purchase: { account } }: One): Promise<void> {
    this.collects += 1;
    const codes = ['CHECKOUT_NOT_OPEN', 'INSUFFICIENT_WALLET_FUNDS'];
    await this.#traffic.answered(random, { path: `${path}/collect`, account, body: {}, codes });
  }

  /** Store credit, for what the wallet alone has paid, or where the merchant decides. */
  async #giveBack(random: Random, { path, purchase }: One): Promise<void> {
    const { account, walletPart, paymentPart } = purchase;
    const amount = random.int(1, walletPart + paymentPart);
    const body = { amount, idempotency_key: this.#traffic.id('back'), reason: 'soak' };
    const codes = ['REFUND_EXCEEDS_PAID', 'CHECKOUT_NOT_OPEN'];
    const done = await this.#traffic.answered(random, { path: `${path}/refund`, account, body, codes });
    purchase.returned += done?.entry?.amount ?? 0;
  }

  /** What checkouts came to that must not be, in words; and what they moved in each customer's wallet. */
  async findWrongs(pool: Pool): Promise<{ wrongs: readonly string[]; moved: ReadonlyMap<string, number> }> {
    const wrongs: string[] = [];
    const moved = new Map<string, number>();
    const { rows } = await pool.query<Row>(
      'select checkout_id, state, captured, uncollected, wallet_returned, payment_refunded from checkout',
    );
    for (const row of rows) {
      const { checkout_id: id, captured } = row;
      const purchase = this.#purchases.get(id);
      if (purchase === undefined) {
        wrongs.push(`nobody knows of the checkout ${id}`);
        continue;
      }
      const { returned, bought } = whatItMoved(purchase, captured);
      wrongs.push(...wrongsOf(row, purchase, returned).map((wrong) => `the checkout ${id} ${wrong}`));
      const { customerId } = purchase.account;
      moved.set(customerId, (moved.get(customerId) ?? 0) - captured + returned + bought);
    }
    if (rows.length < this.#purchases.size) wrongs.push(`${this.#purchases.size - rows.length} checkouts are gone`);
    return { wrongs, moved };
  }
}

interface Row {
  readonly checkout_id: string;
  readonly state: string;
  readonly captured: number;
  readonly uncollected: number;
  readonly wallet_returned: number;
  readonly payment_refunded: number;
}

interface One {
  readonly id: string;
  readonly purchase: Purchase;
  readonly path: string;
  readonly signal: AbortSignal;
}

function isCheckout(answer: Partial<CheckoutAnswer> | null): answer is CheckoutAnswer {
  return answer?.checkout_id !== undefined;
}

const paymentOf = (checkoutId: string): string => `pi_of_${checkoutId}`;

/** By the amounts alone: a surplus goes back first, then the order's part with its share of the wallet's, then credit that was bought. */
function whatItMoved(purchase: Purchase, captured: number): { readonly returned: number; readonly bought: number } {
  const { paymentPart, creditBought, paid, refunded, isManual } = purchase;
  const surplus = Math.max(0, paid - paymentPart - creditBought);
  const back = Math.max(0, refunded - surplus);
  const share = paymentPart === 0 ? 0 : Math.floor((captured * Math.min(back, paymentPart)) / paymentPart);
  const kept = creditBought - Math.min(Math.max(0, back - paymentPart), creditBought);
  return { returned: isManual || paymentPart === 0 ? purchase.returned : share, bought: paid > 0 ? kept : 0 };
}

function wrongsOf(row: Row, purchase: Purchase, returned: number): readonly string[] {
  const { walletPart, paymentPart, paid, isCancelled, isOver } = purchase;
  const isPaid = paid > 0 || paymentPart === 0;
  const unpaid = isCancelled ? 'cancelled' : isOver ? 'expired' : 'open';
  const states = isPaid ? ['completed', 'short'] : [unpaid];
  const taken = row.captured + row.uncollected;
  const wrongs = [
    [!states.includes(row.state), `is ${row.state}, instead of ${states.join(' or ')}`],
    [taken !== (isPaid ? walletPart : 0), `took ${row.captured} and wants ${row.uncollected} of ${walletPart}`],
    [row.state === 'completed' && row.captured !== walletPart, `is completed with ${row.captured} of ${walletPart}`],
    [row.wallet_returned !== returned, `returned ${row.wallet_returned} instead of ${returned}`],
    [row.payment_refunded !== purchase.refunded, `notes ${row.payment_refunded} refunded of ${purchase.refunded}`],
  ] as const;
  return wrongs.flatMap(([isWrong, what]) => (isWrong ? [what] : []));
}
