import { randomUUID } from 'node:crypto';
import type { Command } from 'commander';
import { z } from 'zod';
import { requireCustomer } from '../customers/store.ts';
import { type Tx, transaction } from '../db/transaction.ts';
import { invariant } from '../errors.ts';
import { formatMinor } from '../money.ts';
import { listScheduledEntries } from '../schedules/entry-store.ts';
import type { GrantSchedule } from '../schedules/grant-schedule.ts';
import { listSchedules } from '../schedules/grant-store.ts';
import { endSchedule, MOST_SCHEDULES } from '../schedules/put-schedule.ts';
import { cancelScheduledEntry, scheduleEntry } from '../schedules/schedule-entry.ts';
import { putAnySchedule } from '../top-ups/put-schedule.ts';
import { standingOfSchedules } from '../top-ups/refills.ts';
import { currency, moment, text } from '../views/fields.ts';
import { every, scheduleResponse, toWish } from '../views/grant-schedule.ts';
import { onShortfall, scheduledEntryResponse, scheduledStatus, toScheduled } from '../views/scheduled-entry.ts';
import { addMerchantCommand, flag, type Result, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { alignRight, note, properties, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';
import { parseAmount, count as wholeNumber } from './values.ts';

/** Who did it. */
const OPERATOR = 'cli';
const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const ofWallet = takes('<currency>', 'such as USD', currency);
const amountOf = takes('<amount>', 'in the unit people write, such as 12.50', z.string());
const scheduleId = takes(
  '<schedule-id>',
  'a name of your own, such as monthly',
  z.string().regex(/^[A-Za-z0-9_-]{1,64}$/, 'wants 1 to 64 letters, digits, _ or -'),
);

/** What is to be written to wallets at times to come: single entries, and credit at every period of a calendar. */
export function addScheduleCommands(group: Command): void {
  addListCommand(group);
  addGrantCommands(group);
  addEntryCommands(group);
}

function addListCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a customer's grant schedules, and his scheduled entries, newest first",
    takes: {
      customerId,
      currency: takes('--currency <currency>', 'of one wallet, such as USD', currency.optional()),
      status: takes(
        '--status <status>',
        `of the entries: ${scheduledStatus.options.join(', ')}`,
        scheduledStatus.optional(),
      ),
      limit: limitOption,
      before: takes('--before <id>', 'only entries that were made before this one, sen_…', text(300, 1).optional()),
    },
    async run({ limit, before, status, currency: of, customerId: id }, { db }, { merchantId }) {
      const customer = { merchantId, customerId: id };
      const schedules = await listSchedules(db, customer, { currency: of ?? null, most: 100 * MOST_SCHEDULES });
      const filter = { state: status ?? null, currency: of ?? null, beforeId: before ?? null };
      const entries = await listScheduledEntries(db, customer, { ...filter, pageSize: limit, pageNumber: 0 });
      if (schedules.length + entries.length === 0) await requireCustomer(db, merchantId, id);
      const json = {
        grant_schedules: (await standingOfSchedules(db, schedules)).map(scheduleResponse),
        scheduled_entries: entries.map(scheduledEntryResponse),
      };
      const more = moreAfter(entries.length, limit, `--before ${entries.at(-1)?.scheduledEntryId}`);
      return { json, text: `${scheduleTable(json.grant_schedules)}\n\n${entryTable(json.scheduled_entries)}${more}` };
    },
  });
}

function addGrantCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'put',
    summary: 'Grant credit at every period of a calendar, or charge for it, or change how much from the next period on',
    details:
      'Periods are counted from the anchor, so a month from 31 January is 28 February and then 31 March. What is left out of a change is as if it were never set, but for the anchor.',
    takes: {
      customerId,
      currency: ofWallet,
      scheduleId,
      amount: amountOf,
      every: takes('--every <period>', 'day, week, month or year', every),
      anchor: takes(
        '--anchor <time>',
        'the first period, such as 2027-01-31T00:00:00+01:00 (default: now)',
        moment.optional(),
      ),
      zone: takes('--zone <name>', 'by whose clocks, such as Europe/Berlin (default: UTC)', text(100, 1).optional()),
      days: takes(
        '--days <days>',
        'for how many days each grant can be spent (default: for ever)',
        wholeNumber(1, 3660).optional(),
      ),
      priority: takes(
        '--priority <number>',
        '0 to 100, lower ones are spent first (default: 50)',
        wholeNumber(0, 100).optional(),
      ),
      name: takes('--name <text>', 'what the credit is called', text(100, 1).optional()),
      ends: takes('--ends <time>', 'nothing is granted from then on', moment.optional()),
      count: takes('--count <number>', 'how many periods in all', wholeNumber(1, 10_000).optional()),
      charge: flag(
        '--charge',
        'charge the customer for each period, by the top-up rule of the wallet, instead of giving it',
      ),
      paused: flag('--paused', 'grant nothing for now; what is due meanwhile is not made up for'),
    },
    async run({ customerId: id, currency: of, scheduleId: name, ...input }, context, { merchantId }) {
      const body = {
        ...{
          amount: parseAmount(input.amount, of),
          every: input.every,
          anchor_at: input.anchor,
          time_zone: input.zone,
        },
        ...{ expires_in_days: input.days, priority: input.priority, name: input.name, ends_at: input.ends },
        ...{ count: input.count, charge: input.charge, paused: input.paused },
      };
      const wish = toWish({ merchantId, customerId: id, currency: of, scheduleId: name }, body, OPERATOR);
      const { pool, settings, sources, clock } = context;
      const moment = { ...settings, sources, now: clock.now() };
      const put = await transaction(pool, async (tx) => standing(tx, await putAnySchedule(tx, wish, moment)));
      (await context.waker('charge-top-ups')).wake();
      return shownSchedule(await woken(context, put));
    },
  });

  addMerchantCommand(group, {
    name: 'delete',
    summary: 'End a grant schedule, after what is due of it was granted',
    takes: { customerId, currency: ofWallet, scheduleId },
    async run({ customerId: id, currency: of, scheduleId: name }, context, { merchantId }) {
      const key = { merchantId, customerId: id, currency: of, scheduleId: name };
      const { pool, settings, clock } = context;
      const moment = { ...settings, now: clock.now() };
      const ended = await transaction(pool, async (tx) => standing(tx, await endSchedule(tx, key, moment)));
      return shownSchedule(await woken(context, ended));
    },
  });
}

function addEntryCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'add',
    summary: 'Credit or debit a wallet at a time to come',
    takes: {
      customerId,
      type: takes('<type>', 'credit or debit', z.enum(['credit', 'debit'], { error: 'wants credit or debit' })),
      amount: amountOf,
      currency: ofWallet,
      at: takes('--at <time>', 'when, such as 2027-01-31T23:59:59+01:00', moment),
      onShortfall: takes(
        '--on-shortfall <rule>',
        'if a debit cannot be paid: skip (at first), or retry every day for a week',
        onShortfall.optional(),
      ),
      reason: takes('--reason <text>', 'why; it stands on the entry', text(1000, 1).optional()),
      reference: takes('--reference <id>', "an id of your own, such as an invoice's", text(255, 1).optional()),
      key: takes('--key <text>', 'the idempotency key (default: a new one, which is shown)', text(255, 1).optional()),
    },
    async run({ customerId: id, type, currency: of, at, key, ...input }, context, { merchantId }) {
      const body = {
        ...{ amount: parseAmount(input.amount, of), currency: of, entry_type: type, post_at: at },
        ...{ on_shortfall: input.onShortfall, reason: input.reason, reference_object_id: input.reference },
      };
      const made = key ?? `cli_${randomUUID()}`;
      if (key === undefined) note(`Idempotency key: ${made} (if no outcome is shown, repeat with --key)`);
      const request = toScheduled({ merchantId, customerId: id, actor: OPERATOR }, body, made);
      const { db, settings, clock } = context;
      const { kind, entry } = await scheduleEntry(db, request, { ...settings, now: clock.now() });
      if (kind === 'repeated') note('This was done before under the same key, and is not done again.');
      return shownEntry(scheduledEntryResponse(entry));
    },
  });

  addMerchantCommand(group, {
    name: 'cancel',
    summary: 'Cancel a scheduled entry that is not posted yet',
    takes: { customerId, entryId: takes('<scheduled-entry-id>', 'sen_…, as "schedules list" shows it', text(300, 1)) },
    async run({ customerId: id, entryId }, { db, clock }, { merchantId }) {
      const key = { merchantId, customerId: id, scheduledEntryId: entryId };
      const { kind, entry } = await cancelScheduledEntry(db, key, clock.now());
      if (kind === 'ended') return giveUp(`The entry does not wait for its time any more: it is ${entry.state}.`);
      return shownEntry(scheduledEntryResponse(entry));
    },
  });
}

async function standing(tx: Tx, schedule: GrantSchedule): Promise<ShownSchedule> {
  const [one] = await standingOfSchedules(tx, [schedule]);
  invariant(one !== undefined, 'a schedule without its standing');
  return scheduleResponse(one);
}

/** What was granted just now is to be announced. */
async function woken<Shown>(context: CliContext, shown: Shown): Promise<Shown> {
  (await context.waker()).wake();
  return shown;
}

type ShownSchedule = ReturnType<typeof scheduleResponse>;
type ShownEntry = ReturnType<typeof scheduledEntryResponse>;

function shownSchedule(one: ShownSchedule): Result {
  const facts = properties({
    schedule: one.schedule_id,
    status: one.status,
    amount: formatMinor(one.amount, one.currency),
    every: `${one.every} from ${time(one.anchor_at)}, ${one.time_zone}`,
    charged: one.charge ? 'by the top-up rule of the wallet' : null,
    'last refill': refillText(one),
    name: one.name,
    'each for': one.expires_in_days === null ? null : `${one.expires_in_days} days`,
    periods: one.count === null ? null : String(one.count),
    ends: one.ends_at === null ? null : time(one.ends_at),
    next: one.next_at === null ? null : time(one.next_at),
    ended: one.ended_at === null ? null : time(one.ended_at),
  });
  return { json: one, text: facts };
}

function refillText({ last_refill: refill, currency: of }: ShownSchedule): string | null {
  if (refill === null) return null;
  const { amount, due_at: dueAt, status, topup } = refill;
  const what = `${formatMinor(amount, of)} due ${time(dueAt)}: ${status}`;
  return topup === null ? what : `${what}, ${topup.topup_id} ${topup.status}`;
}

function shownEntry(one: ShownEntry): Result {
  const facts = properties({
    'scheduled entry': one.scheduled_entry_id,
    status: one.status,
    amount: `${one.entry_type} ${formatMinor(one.amount, one.currency)}`,
    due: time(one.post_at),
    'next try': one.next_attempt_at === null || one.next_attempt_at === one.post_at ? null : time(one.next_attempt_at),
    entry: one.entry_id,
    'skipped for': one.skipped_for,
    reason: one.reason,
    reference: one.reference_object_id,
    key: one.idempotency_key,
  });
  return { json: one, text: facts };
}

function scheduleTable(schedules: readonly ShownSchedule[]): string {
  const amounts = alignRight(schedules.map((one) => formatMinor(one.amount, one.currency)));
  return table(
    ['schedule', 'status', 'amount', 'every', 'next', 'zone'],
    schedules.map((one, row) => [
      ...[one.schedule_id, one.status, amounts[row] ?? '', one.every],
      ...[one.next_at === null ? null : time(one.next_at), one.time_zone],
    ]),
    'No grant schedules.',
  );
}

function entryTable(entries: readonly ShownEntry[]): string {
  const amounts = alignRight(entries.map((one) => formatMinor(one.amount, one.currency)));
  return table(
    ['scheduled entry', 'status', 'type', 'amount', 'due', 'reference'],
    entries.map((one, row) => [
      ...[one.scheduled_entry_id, one.status, one.entry_type, amounts[row] ?? ''],
      ...[time(one.post_at), one.reference_object_id],
    ]),
    'No scheduled entries.',
  );
}
