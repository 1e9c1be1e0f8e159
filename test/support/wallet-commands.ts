import fc from 'fast-check';
import { expect } from 'vitest';
import type { RealWallets } from './real-wallets.ts';
import { commandsOf } from './replay.ts';
import { stripeDispute, stripePayment, stripeRefund } from './signing.ts';
import type { EntryRequest, ModelPayment, ModelStatus, News, PaymentPlan, WalletModel } from './wallet-model.ts';

/** What may happen to wallets, done to a {@link WalletModel} and to the service and compared after each step. */
type WalletCommand = fc.AsyncCommand<WalletModel, RealWallets>;

/** `arbitrary` draws the command's input, which is what a failure shows. */
function command<Input>(
  name: string,
  arbitrary: fc.Arbitrary<Input>,
  run: (input: Input, model: WalletModel, real: RealWallets) => Promise<void>,
  isPossible: (model: Pick<WalletModel, 'requests' | 'events'>) => boolean = () => true,
): fc.Arbitrary<WalletCommand> {
  return arbitrary.map((input) => ({
    check: (model) => isPossible(model),
    run: (model, real) => run(input, model, real),
    toString: () => `${name} ${fc.stringify(input)}`,
  }));
}

/** The item at `index`, which begins again at the first after the last. */
function pick<T>(list: readonly T[], index: number): T {
  const one = list[index % list.length];
  if (one === undefined) throw new Error('nothing to pick from');
  return one;
}

let ids = 0;
function newId(prefix: string): string {
  ids += 1;
  return `${prefix}_sequence${ids}`;
}

const NOBODY = 'cus_nobody';

/** A request, whose amount may follow from what the wallet holds when its turn comes. */
const request = fc.record({
  who: fc.constantFrom(0, 0, 0, 1, 1, 2),
  currency: fc.constantFrom('USD', 'USD', 'USD', 'INR', 'XTS'),
  amount: fc.oneof(
    fc.integer({ min: 1, max: 500 }).map((exact) => ({ exact })),
    fc.constantFrom(-1, 0, 1).map((beyondBalance) => ({ beyondBalance })),
  ),
  isCredit: fc.boolean(),
  key: fc.constantFrom(null, 'k1', 'k2', 'k3', 'k4', 'k5'),
});
type RequestPlan = typeof request extends fc.Arbitrary<infer Plan> ? Plan : never;

function concrete({ who, amount: planned, ...rest }: RequestPlan, model: WalletModel): EntryRequest {
  const wallet = { customerId: pick([...model.customers, NOBODY], who), currency: rest.currency };
  const amount = 'exact' in planned ? planned.exact : Math.max(1, model.balanceOf(wallet) + planned.beyondBalance);
  return { ...rest, ...wallet, amount };
}

const post = command('post', request, async (input, model, real) => {
  const one = concrete(input, model);
  const expected = model.post(one);
  expect(await real.post(one)).toEqual(expected);
  await real.expectSame(model, 'requests');
});

const batch = command('batch', fc.array(request, { minLength: 2, maxLength: 5 }), async (inputs, model, real) => {
  const decided = inputs.map((input) => {
    const one = concrete(input, model);
    return { one, expected: model.post(one) };
  });
  expect(await real.postBatch(decided.map(({ one }) => one))).toEqual(decided.map(({ expected }) => expected));
  await real.expectSame(model, 'requests');
});

const repeatRequest = command(
  'repeat a request',
  fc.nat(50),
  async (index, model, real) => {
    const one = pick(model.requests, index);
    const expected = model.post(one);
    expect(expected.kind).toBe('repeated');
    expect(await real.post(one)).toEqual(expected);
    await real.expectSame(model, 'requests');
  },
  ({ requests }) => requests.length > 0,
);

const statusRequest = fc.record({
  who: fc.constantFrom(0, 0, 1, 2),
  currency: fc.constantFrom('USD', 'USD', 'USD', 'INR', 'XTS'),
  status: fc.constantFrom<ModelStatus>('active', 'active', 'active', 'frozen', 'frozen', 'closed'),
});

const setStatus = command('set the status', statusRequest, async ({ who, ...rest }, model, real) => {
  const one = { ...rest, customerId: pick([...model.customers, NOBODY], who) };
  const expected = model.setStatus(one);
  expect(await real.setStatus(one)).toEqual(expected);
  await real.expectSame(model, 'requests');
});

/** News of one of the payments, of which the provider makes an event. */
function news<State extends News['state']>(
  name: string,
  states: readonly State[],
  eventOf: (payment: PaymentPlan, state: State, which: number, eventId: string) => { news: News; body: string },
): fc.Arbitrary<WalletCommand> {
  const input = fc.record({ payment: fc.nat(1), which: fc.nat(1), state: fc.constantFrom(...states) });
  return command(name, input, async (drawn, model, real) => {
    const payment = pick(model.payments, drawn.payment);
    const eventId = newId('evt');
    const event = { eventId, payment, ...eventOf(payment.plan, drawn.state, drawn.which, eventId) };
    model.receive(event);
    await real.deliver(event.body);
    await real.expectSame(model, 'events');
  });
}

const TYPE_OF_PAYMENT = { succeeded: 'succeeded', pending: 'processing', failed: 'payment_failed' } as const;

const payment = news('payment', ['succeeded', 'succeeded', 'pending', 'failed'], (plan, state, _, eventId) => {
  const { paymentId, customerId, purpose, paid: amount, grants } = plan;
  const granted = grants === null ? {} : { wallet_credit_amount: String(grants) };
  const metadata = { wallet_customer_id: customerId, wallet_purpose: purpose, ...granted };
  const type = TYPE_OF_PAYMENT[state];
  // A try that failed after the payment succeeded would contradict it; this one was made before.
  const earlier = state === 'succeeded' ? {} : { createdSeconds: 1_793_188_700 };
  const body = stripePayment({
    type,
    paymentId,
    eventId,
    amount,
    currency: 'usd',
    customer: null,
    metadata,
    ...earlier,
  });
  return { news: { kind: 'payment', state }, body };
});

const refund = news('refund', ['succeeded', 'succeeded', 'pending', 'failed'], (plan, status, which, eventId) => {
  const { paymentId, refundsName, paid } = plan;
  const part = { partId: `re_${paymentId}_${which}`, amount: which === 0 ? Math.ceil((paid + 1) / 3) : paid + 1 };
  const metadata = { wallet_customer_id: refundsName };
  const told = { paymentId, eventId, refundId: part.partId, amount: part.amount, currency: 'usd', status, metadata };
  return { news: { kind: 'refund', state: status, ...part }, body: stripeRefund(told) };
});

const dispute = news('dispute', ['lost', 'lost', 'open', 'won'], (plan, state, _, eventId) => {
  const { paymentId, paid } = plan;
  const part = { partId: `du_${paymentId}`, amount: Math.ceil((paid + 1) / 2) };
  const type = state === 'open' ? 'created' : 'closed';
  const status = state === 'open' ? 'needs_response' : state;
  const told = {
    paymentId,
    eventId,
    disputeId: part.partId,
    amount: part.amount,
    currency: 'usd',
    type,
    status,
  } as const;
  return { news: { kind: 'dispute', state, ...part }, body: stripeDispute(told) };
});

const repeatEvent = command(
  'repeat an event',
  fc.nat(50),
  async (index, model, real) => {
    await real.deliver(pick(model.events, index).body);
    await real.expectSame(model, 'requests');
  },
  ({ events }) => events.length > 0,
);

/** Replays the payment's events of this kind, one after another, as long as they are still of this kind. */
async function again(
  { events }: Pick<ModelPayment, 'events'>,
  kind: 'waiting' | 'parked',
  model: WalletModel,
  real: RealWallets,
): Promise<void> {
  for (const event of events) {
    if (!event.verdict.startsWith(kind)) continue;
    model.apply(event);
    await real.replay(event);
    await real.expectSame(model, 'events');
  }
}

const endWaits = command('end the waits', fc.constant('for all'), async (_, model, real) => {
  model.now += 1;
  real.endWaits();
  for (const one of model.payments) await again(one, 'waiting', model, real);
});

const giving = fc.record({ payment: fc.nat(1), giveTo: fc.option(fc.nat(1)) });

const replayParked = command('replay what is parked', giving, async ({ payment: index, giveTo }, model, real) => {
  const one = pick(model.payments, index);
  const ofNobody = one.events.filter(
    ({ news: { kind }, verdict }) => kind === 'payment' && verdict === 'parked: unknown_customer',
  );
  if (giveTo !== null) for (const event of ofNobody) event.assignedTo = pick(model.customers, giveTo);
  await again(one, 'parked', model, real);
});

const COMMANDS = [
  ...[post, batch, repeatRequest, payment, refund, dispute, setStatus],
  ...[repeatEvent, endWaits, replayParked],
];

/** Sequences of up to 40 commands. */
export const walletCommands = commandsOf(COMMANDS, { maxCommands: 40, size: 'max' });

const plan = fc.record({
  who: fc.constantFrom(0, 0, 1, 2),
  /** Somebody else now and then. */
  refundsWho: fc.constantFrom(null, null, 0, 1),
  purpose: fc.constantFrom<PaymentPlan['purpose']>('topup', 'topup', 'order', 'none'),
  paid: fc.oneof(fc.integer({ min: 1, max: 1_000 }), fc.constantFrom(0, 1)),
  grants: fc.option(fc.integer({ min: 1, max: 1_500 })),
});

export type DrawnPayment = typeof plan extends fc.Arbitrary<infer Drawn> ? Drawn : never;

/** Payments that the commands may tell of. */
export const twoPayments: fc.Arbitrary<readonly DrawnPayment[]> = fc.tuple(plan, plan);

/** The payment of one of the customers or of nobody. */
export function paymentOf(
  { who, refundsWho, grants: drawn, ...rest }: DrawnPayment,
  customers: readonly string[],
): PaymentPlan {
  const all = [...customers, NOBODY];
  // At most what MAX_BONUS_RATIO allows. For a payment of amount zero any credit amount grants nothing.
  const grants = drawn === null || rest.paid === 0 ? drawn : Math.min(drawn, 2 * rest.paid);
  return {
    ...rest,
    grants,
    paymentId: newId('pi'),
    customerId: pick(all, who),
    refundsName: pick(all, refundsWho ?? who),
  };
}
