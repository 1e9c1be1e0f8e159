import type { Command } from 'commander';
import { z } from 'zod';
import { type DismissServices, dismissEvent, resolveEvent } from '../inbox/dismiss.ts';
import { EVENT_STATES, listEvents, type ProviderEvent } from '../inbox/events.ts';
import { findEvent, replayOnRequest } from '../inbox/manual.ts';
import { MAX_AMOUNT_MINOR } from '../money.ts';
import { eventResponse } from '../views/event.ts';
import { text } from '../views/fields.ts';
import { commandsFor, otherMerchant } from './advice.ts';
import { addMerchantCommand, flag, type Result, takes, UsageError } from './command.ts';
import type { CliContext } from './context.ts';
import { giveUp } from './give-up.ts';
import { nextCommands, properties, table, time } from './output.ts';
import { count, id } from './values.ts';

const eventId = takes('<event-id>', 'evt_…', id);
const DEFAULT_LIMIT = 20;
const HANDLED_AMOUNT = 'what was credited or debited by hand, in minor units; 0: nothing was owed';
const STATUS_ERROR = { error: `wants one of ${EVENT_STATES.join(', ')}` };

/** What providers sent, and what became of it. */
export function addEventCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: 'List events, newest first',
    takes: {
      status: takes('--status <status>', EVENT_STATES.join(', '), z.enum(EVENT_STATES, STATUS_ERROR).optional()),
      limit: takes(
        '--limit <count>',
        `how many at most (default: ${DEFAULT_LIMIT})`,
        count(1, 1000).default(DEFAULT_LIMIT),
      ),
    },
    async run({ status, limit }, { db, config }, { merchantId }) {
      const page = { state: status ?? null, pageSize: limit, pageNumber: 0 };
      const items = (await listEvents(db, merchantId, page)).map(eventResponse);
      const parked = items.find((one) => one.status === 'parked');
      const look = `npx chokin events show ${parked?.event_id}${otherMerchant(config, merchantId)}`;
      return {
        json: { items },
        text: parked === undefined ? eventTable(items) : `${eventTable(items)}\n\n${look}  # says what to do`,
      };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show an event, and what to do about it',
    takes: { eventId },
    async run(input, { db, config }, { merchantId }) {
      return shown(await findEvent(db, merchantId, input.eventId), otherMerchant(config, merchantId));
    },
  });

  addMerchantCommand(group, {
    name: 'replay',
    summary: 'Apply a parked, waiting or dismissed event again',
    details: 'It cannot credit twice. A worker has to run, which applies it.',
    takes: {
      eventId,
      customer: takes('--customer <id>', 'whose payment it is, where the event does not say', text(300, 1).optional()),
      link: flag('--link', "and the payments after it, too: links that customer with the provider's"),
      reopen: flag('--reopen', 'also one that was dismissed: what was handled by hand stays'),
      acceptAmount: flag('--accept-amount', 'completes its checkout by what was paid, though that is another amount'),
    },
    async run(
      { eventId: wanted, customer, link, reopen: reopens, acceptAmount: acceptsAmount },
      context,
      { merchantId },
    ) {
      if (link && customer === undefined) throw new UsageError('--link: wants --customer, too');
      await findEvent(context.db, merchantId, wanted);
      const replay = { merchantId, eventId: wanted, customerId: customer ?? null, link, reopens, acceptsAmount };
      const replayed = await replayOnRequest(context.pool, await context.boss(), replay);
      return shown(replayed, otherMerchant(context.config, merchantId));
    },
  });

  addHandlingCommands(group);
}

/** What people handle by hand. */
function addHandlingCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'dismiss',
    summary: 'Set a parked event aside that was handled by hand',
    details: 'What it tells never posts from then on, whatever comes later.',
    takes: {
      eventId,
      note: takes('--note <text>', 'what was done', text(500, 1).optional()),
      amount: takes('--amount <minor>', HANDLED_AMOUNT, count(0, MAX_AMOUNT_MINOR).optional()),
    },
    async run({ eventId: wanted, note, amount }, context, { merchantId }) {
      const handling = { merchantId, eventId: wanted, note: note ?? null, amountMinor: amount ?? null, entryId: null };
      return shown(
        await dismissEvent(await dismissServices(context), handling),
        otherMerchant(context.config, merchantId),
      );
    },
  });

  addMerchantCommand(group, {
    name: 'resolve',
    summary: 'Say how an event was handled by hand: which entry, or how much',
    takes: {
      eventId,
      entry: takes('--entry <id>', 'the entry that did it', text(400, 1).optional()),
      amount: takes('--amount <minor>', HANDLED_AMOUNT, count(0, MAX_AMOUNT_MINOR).optional()),
      note: takes('--note <text>', 'what was done', text(500, 1)),
    },
    async run({ eventId: wanted, entry, amount, note }, context, { merchantId }) {
      if ((entry === undefined) === (amount === undefined)) return giveUp('Say either --entry or --amount.');
      const handling = { merchantId, eventId: wanted, note, amountMinor: amount ?? null, entryId: entry ?? null };
      return shown(
        await resolveEvent(await dismissServices(context), handling),
        otherMerchant(context.config, merchantId),
      );
    },
  });
}

async function dismissServices(context: CliContext): Promise<DismissServices> {
  const { pool, sources, clock, settings } = context;
  const waker = await context.waker();
  return { pool, sources, clock, settings, onPosted: () => waker.wake() };
}

type EventResponse = ReturnType<typeof eventResponse>;

/** Provider events as a table for the terminal. */
export function eventTable(events: readonly EventResponse[]): string {
  return table(
    ['event', 'received', 'source', 'type', 'status', 'payment'],
    events.map((one) => [
      one.event_id,
      time(one.received_at),
      one.source_id,
      one.type,
      [one.status, one.reason ?? (one.effect === 'none' && one.status === 'applied' ? 'nothing changed' : one.effect)]
        .filter((word) => word !== null)
        .join(': '),
      one.payment_id,
    ]),
    'No events.',
  );
}

/** The event with the commands that bring it on; of another merchant than the usual one, they name that. */
function shown(event: ProviderEvent, everywhere: string): Result {
  const one = eventResponse(event);
  const commands = commandsFor(event, everywhere);
  const facts = properties({
    event: one.event_id,
    source: one.source_id,
    type: one.type,
    status: one.status,
    reason: one.reason,
    advice: one.advice,
    detail: one.detail,
    effect: one.effect,
    payment: one.payment_id,
    customer: one.assigned_customer_id,
    origin: one.origin,
    received: time(one.received_at),
    settled: time(one.settled_at),
    replays: one.replays,
  });
  return { json: { ...one, commands }, text: `${facts}${nextCommands(commands)}` };
}
