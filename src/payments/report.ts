import { STAGES } from './fact.ts';

export type PartState = 'pending' | 'succeeded' | 'failed' | 'open' | 'withdrawn' | 'lost' | 'won';

/**
 * One thing that the provider told of a refund, a dispute or another movement. The result is computed from all reports, so it
 * does not depend on the order in which they came.
 */
export interface Report {
  readonly state: PartState;
  /** When it was decided, by the provider's clock, in milliseconds; null if that is not told. */
  readonly at: number | null;
  /** How far a dispute has come; see {@link STAGES}. */
  readonly stage: number;
  /** Null for all that is left. */
  readonly amountMinor: number | null;
  /** Why a capture or refund succeeded, where one may succeed again after it failed. */
  readonly reason: string | null;
  /** `cap`: the amount is a bound for all rounds. `release`: the refund may be what was never captured. */
  readonly mark: 'cap' | 'release' | null;
}

/** The result of all reports of one thing. */
export interface Resolved {
  readonly state: PartState;
  readonly amountMinor: number | null;
}

/**
 * Adds a report. Only reports that can still matter are kept, so that repeated news does not fill the table: of those that are
 * alike the first, the newest, one without a time, and those that tell the amount.
 */
export function addReport(all: readonly Report[], one: Report): readonly Report[] {
  const others = all.filter((other) => !isAlike(other, one));
  // Sorted, so that of two equal reports the same one is kept, whichever came first.
  const alike = [...all.filter((other) => isAlike(other, one)), one].toSorted(inOrder);
  const first = alike.reduce((a, b) => (compareTimes(a, b) <= 0 ? a : b));
  const newest = alike.reduce(newer);
  // A report without a time may count more than one with a time (see compareRounds), so one of them is kept too.
  const untimed = alike.filter((other) => other.at === null).slice(0, 1);
  const amounts = alike.filter((other) => other.amountMinor !== null);
  const newestAmount = amounts.length === 0 ? newest : amounts.reduce(newer);
  const largest = alike.reduce((a, b) => ((b.amountMinor ?? -1) > (a.amountMinor ?? -1) ? b : a));
  return [...others, ...new Set([first, newest, ...untimed, newestAmount, largest])].toSorted(inOrder);
}

function isAlike(a: Report, b: Report): boolean {
  return a.state === b.state && a.stage === b.stage && a.reason === b.reason && a.mark === b.mark;
}

/** The earlier first; those without a time last. */
function compareTimes(a: Report, b: Report): number {
  return (a.at ?? Number.MAX_SAFE_INTEGER) - (b.at ?? Number.MAX_SAFE_INTEGER);
}

/** The newer of two; on equal times the larger amount. */
function newer(a: Report, b: Report): Report {
  const order = compareNumbers(a.at, b.at) || compareNumbers(a.amountMinor, b.amountMinor);
  return order >= 0 ? a : b;
}

/** Numbers in order; null is less than any number. */
function compareNumbers(a: number | null, b: number | null): number {
  if (a === null || b === null) return Number(a !== null) - Number(b !== null);
  return a - b;
}

/** A total order of reports, so that equal sets are equal lists. */
function inOrder(a: Report, b: Report): number {
  const [left, right] = [a, b].map((one) =>
    JSON.stringify([one.state, one.stage, one.at, one.amountMinor, one.reason, one.mark]),
  );
  return (left ?? '') < (right ?? '') ? -1 : 1;
}

/** The newest amount that was told with this state; if there is none, the newest that was told at all. */
function amountOf(all: readonly Report[], state: PartState): number | null {
  const known = all.filter((one) => one.amountMinor !== null);
  const same = known.filter((one) => one.state === state);
  const from = same.length > 0 ? same : known;
  return from.length === 0 ? null : from.reduce(newer).amountMinor;
}

/**
 * A refund or a capture: pending < succeeded < failed, whatever the times are, since a failed one does not succeed later. Only
 * Adyen lets it: then the new success is newer than the failure and has a reason that the first success did not have.
 */
export function resolveTransfer(all: readonly Report[]): Resolved {
  const state = transferState(all);
  return { state, amountMinor: amountOf(all, state) };
}

function transferState(all: readonly Report[]): PartState {
  const of = (state: PartState) => all.filter((one) => one.state === state);
  const [successes, failures] = [of('succeeded'), of('failed')];
  if (failures.length === 0) return successes.length > 0 ? 'succeeded' : 'pending';
  const failedAt = failures.reduce(newer).at;
  const first = successes.toSorted((a, b) => compareTimes(a, b) || compareNumbers(b.amountMinor, a.amountMinor))[0];
  const again = successes.some(
    (one) =>
      one.reason !== null &&
      one.reason !== (one === first ? null : first?.reason) &&
      one.at !== null &&
      failedAt !== null &&
      one.at > failedAt,
  );
  return again ? 'succeeded' : 'failed';
}

/** A sum that only grows: the largest that was told. */
export function resolveTotal(all: readonly Report[]): Resolved {
  const amounts = all.flatMap((one) => (one.amountMinor === null ? [] : [one.amountMinor]));
  return { state: 'succeeded', amountMinor: amounts.length === 0 ? null : Math.max(...amounts) };
}

/**
 * A dispute: its newest decision, by stage and then by time. If times are equal or missing, `won` counts.
 * Without a decision, its newest state.
 */
export function resolveDispute(all: readonly Report[]): Resolved {
  const decided = all.filter((one) => one.state === 'lost' || one.state === 'won');
  const from = decided.length > 0 ? decided : all;
  const last = from.reduce((a, b) => (compareRounds(a, b) >= 0 ? a : b));
  const round = from.filter((one) => one.state === last.state && one.stage === last.stage);
  return { state: last.state, amountMinor: capped(all, amountOf(round, last.state) ?? amountOf(all, last.state)) };
}

/**
 * The amount of a dispute's newest round while that is open, also after an earlier one was decided; null for all of the payment.
 * False if it is not open, or asks before any money is claimed.
 */
export function openRound(all: readonly Report[]): { readonly amountMinor: number | null } | false {
  if (all.length === 0) return false;
  const last = all.map((one) => inItsRound(all, one)).reduce((a, b) => (compareRounds(a, b) >= 0 ? a : b));
  if (last.state !== 'open' || last.stage === STAGES.inquiry) return false;
  const round = all.filter((one) => one.state === 'open' && one.stage === last.stage);
  return { amountMinor: capped(all, amountOf(round, 'open') ?? amountOf(all, 'open')) };
}

/** A round of a dispute: its stage, and when the newest news of it was. */
interface Round {
  readonly stage: number;
  readonly at: number | null;
}

/** The newest round that was told of. */
export function newestRound(all: readonly Report[]): Round {
  const { stage, at } = all.map((one) => inItsRound(all, one)).reduce((a, b) => (compareRounds(a, b) >= 0 ? a : b));
  return { stage, at };
}

/** Whether the newest round is another than the given one: it has come further, or was opened after a decision that came later. */
export function isLaterRound(all: readonly Report[], than: { readonly stage: number; readonly at: number }): boolean {
  const { stage } = newestRound(all);
  if (stage !== than.stage) return stage > than.stage;
  return all
    .map((one) => inItsRound(all, one))
    .some((one) => one.state !== 'open' && one.stage === stage && timeOf(one) > than.at);
}

/** An end without a stage is that of the last round told before it: some providers tell the stage of what is open alone. */
function inItsRound(all: readonly Report[], one: Report): Report {
  if (one.state === 'open' || one.stage !== STAGES.none) return one;
  const before = all.filter((other) => timeOf(other) <= timeOf(one));
  return { ...one, stage: Math.max(...before.map(({ stage }) => stage)) };
}

/** No round takes more than what one of them told as the most. */
function capped(all: readonly Report[], amount: number | null): number | null {
  const caps = all.flatMap((one) => (one.mark === 'cap' && one.amountMinor !== null ? [one.amountMinor] : []));
  return amount === null || caps.length === 0 ? amount : Math.min(amount, ...caps);
}

const FOR_THE_MERCHANT: Readonly<Partial<Record<PartState, number>>> = { open: 0, lost: 1, withdrawn: 2, won: 3 };

/** A decision without a time counts in favour of the customer: `won` as the latest, `lost` as the earliest. */
function timeOf({ at, state }: Report): number {
  return at ?? (state === 'won' ? Number.POSITIVE_INFINITY : Number.NEGATIVE_INFINITY);
}

function compareRounds(a: Report, b: Report): number {
  const byTime = timeOf(a) === timeOf(b) ? 0 : timeOf(a) - timeOf(b);
  return a.stage - b.stage || byTime || (FOR_THE_MERCHANT[a.state] ?? 0) - (FOR_THE_MERCHANT[b.state] ?? 0);
}
