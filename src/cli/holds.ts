import type { Command } from 'commander';
import { z } from 'zod';
import { requireCustomer } from '../customers/store.ts';
import { refuse } from '../errors.ts';
import { liftHold } from '../inbox/lift-hold.ts';
import { capturesOf, getHold, listHolds } from '../ledger/holds/read.ts';
import type { RefusedHold } from '../ledger/holds/results.ts';
import { formatMinor, MAX_AMOUNT_MINOR } from '../money.ts';
import { entryResponse } from '../views/entry.ts';
import { currency, text } from '../views/fields.ts';
import { holdDetailResponse, holdResponse, holdStatus } from '../views/hold.ts';
import { type HoldReference, holdKeyOf, toCapture, toPlace, toRelease } from '../views/hold-requests.ts';
import { addMerchantCommand, flag, type Result, takes, UsageError } from './command.ts';
import { giveUp } from './give-up.ts';
import { keyOption, keyOr, noteRepeated } from './keyed.ts';
import { alignRight, properties, table, time } from './output.ts';
import { foundInWindows, limitOption, moreAfter, placeBefore } from './paging.ts';
import { settledWallets } from './settled.ts';
import { count, duration, oneOf, parseAmount } from './values.ts';

const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const holdId = takes('<hold-id>', 'hold_…, as "holds list" shows it', text(400, 1));
const amountInUnits = 'in the unit people write, such as 12.50';
const LIFE_ERROR = 'wants a time span from 10s to 7d';

/** Money that is set aside before the work is done, and taken for what it came to. */
export function addHoldCommands(group: Command): void {
  addPlaceCommand(group);
  addCaptureCommand(group);
  addReleaseCommand(group);
  addLiftCommand(group);
  addReadingCommands(group);
}

function addPlaceCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'place',
    summary: 'Set money of a wallet aside, as far as it is there',
    details: 'Capture what the work came to; what is left is available again, at the latest when the hold ends.',
    takes: {
      customerId,
      amount: takes('<amount>', amountInUnits, z.string()),
      currency: takes('<currency>', 'such as USD', currency),
      expiresIn: takes(
        '--expires-in <span>',
        'how long it is held, such as 90s or 2h (default: 15m)',
        duration.refine((seconds) => seconds >= 10 && seconds <= 604_800, LIFE_ERROR).optional(),
      ),
      partial: flag('--partial', 'hold what is available if that is less'),
      reason: takes('--reason <text>', 'why; it stands on the hold and its captures', text(1000, 1).optional()),
      reference: takes('--reference <id>', "an id of your own, such as a job's", text(255, 1).optional()),
      key: keyOption,
    },
    async run({ key: chosenKey, expiresIn, partial, reason, reference, ...input }, context, { merchantId }) {
      const ledger = await context.ledger();
      const body = {
        ...{ amount: parseAmount(input.amount, input.currency), currency: input.currency, partial },
        ...{ expires_in_seconds: expiresIn, reason, reference_object_id: reference },
      };
      const owner = { merchantId, customerId: input.customerId };
      const result = await ledger.hold(toPlace(owner, body, keyOr(chosenKey)));
      if (result.kind === 'refused') return refused(result, input.currency);
      if (result.kind === 'held_before') noteRepeated();
      return shown(holdResponse(result.hold));
    },
  });
}

function addCaptureCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'capture',
    summary: 'Take what the work came to out of a hold, and release the rest',
    takes: {
      holdId,
      amount: takes('--amount <amount>', `${amountInUnits} (default: what is left)`, z.string().optional()),
      part: flag('--part', 'leave the rest held for more captures'),
      beyond: takes(
        '--beyond <rule>',
        'if it came to more than is left: refuse (at first), take all or nothing, or take up_to_balance',
        oneOf(['refuse', 'take', 'up_to_balance']).optional(),
      ),
      late: takes(
        '--late <rule>',
        'if the hold has expired: refuse (at first), or debit what is available',
        oneOf(['refuse', 'debit']).optional(),
      ),
      reason: takes('--reason <text>', "why; it stands on the entry (default: the hold's)", text(1000, 1).optional()),
      key: keyOption,
    },
    async run({ key: chosenKey, holdId: wanted, amount, part, ...rules }, context, { merchantId }) {
      const reference = referenceTo(merchantId, wanted);
      const { currency: of } = holdKeyOf(reference);
      const minor = amount === undefined ? undefined : parseAmount(amount, of);
      const ledger = await context.ledger();
      const body = { ...rules, amount: minor, final: !part };
      const result = await ledger.hold(toCapture(reference, body, keyOr(chosenKey)));
      if (result.kind === 'refused') return refused(result, of);
      if (result.kind === 'repeated') {
        noteRepeated();
        return {
          json: { entry: entryResponse(result.entry) },
          text: properties({ entry: entryResponse(result.entry).id }),
        };
      }
      const { hold, entry, uncaptured } = result;
      const written = entry === null ? null : entryResponse(entry);
      const { json, text: facts } = shown(holdResponse(hold), {
        ...{ entry: written?.id ?? null, debited: written === null ? null : formatMinor(written.amount, of) },
        uncaptured: uncaptured === 0 ? null : formatMinor(uncaptured, of),
      });
      return { json: { hold: json, entry: written, uncaptured }, text: facts };
    },
  });
}

function addReleaseCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'release',
    summary: 'Release what is left of a hold',
    takes: { holdId, reason: takes('--reason <text>', 'why; it stands on the hold', text(1000, 1).optional()) },
    async run({ holdId: wanted, reason }, context, { merchantId }) {
      const reference = referenceTo(merchantId, wanted);
      const ledger = await context.ledger();
      const result = await ledger.hold(toRelease(reference, { reason }));
      return result.kind === 'refused'
        ? refused(result, holdKeyOf(reference).currency)
        : shown(holdResponse(result.hold));
    },
  });
}

function addLiftCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'lift',
    summary: 'End the hold of an open dispute whose end no news told',
    details:
      'Look at the provider first. This round of the dispute holds nothing any more, whatever is told of it; if it is lost, it takes the money as ever. A later round holds again.',
    takes: { holdId, reason: takes('--reason <text>', 'why; it stands on the hold', text(1000, 1)) },
    async run({ holdId: wanted, reason }, context, { merchantId }) {
      const hold = holdKeyOf(referenceTo(merchantId, wanted));
      return shown(holdResponse(await liftHold(context, { hold, reason, actor: 'cli' })));
    },
  });
}

function addReadingCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a customer's holds, newest first",
    takes: {
      customerId,
      currency: takes('--currency <currency>', 'of one wallet, such as USD', currency.optional()),
      status: takes('--status <status>', holdStatus.options.join(', '), holdStatus.optional()),
      limit: limitOption,
      before: takes(
        '--before <number>',
        'only holds before this number; wants --currency',
        count(1, 999_999_999).optional(),
      ),
    },
    async run({ limit, before, status, ...input }, context, { merchantId }) {
      if (before !== undefined && input.currency === undefined)
        throw new UsageError('--before: wants --currency, since every wallet counts its own holds');
      const owner = { merchantId, customerId: input.customerId };
      const wallets = await settledWallets(context, owner);
      const filter = { currency: input.currency ?? null, state: status ?? null };
      const holds = await foundInWindows(placeBefore(input.currency, before), limit, async (from, pageSize) => {
        const page = { ...filter, from, pageSize, pageNumber: 0 };
        const { holds: items, next } = await listHolds(context.db, { ...owner, wallets }, page);
        return { items, next };
      });
      if (holds.length === 0) await requireCustomer(context.db, merchantId, input.customerId);
      const items = holds.map(holdResponse);
      const next = `--currency ${input.currency ?? '…'} --before ${holds.at(-1)?.holdNo}`;
      return { json: { items }, text: `${holdTable(items)}${moreAfter(items.length, limit, next)}` };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a hold with its captures',
    takes: { holdId },
    async run({ holdId: wanted }, context, { merchantId }) {
      const hold = holdKeyOf(referenceTo(merchantId, wanted));
      await settledWallets(context, hold);
      const found = (await getHold(context.db, hold)) ?? refuse({ code: 'HOLD_NOT_FOUND' });
      const detail = holdDetailResponse(found, await capturesOf(context.db, hold));
      const amounts = alignRight(detail.captures.map((one) => formatMinor(one.amount, detail.currency)));
      const rows = detail.captures.map((one, row) => [one.entry_id, time(one.created_at), amounts[row] ?? '']);
      const captures = table(['entry', 'written', 'captured'], rows, 'No captures.');
      return { json: detail, text: `${shown(detail).text}\n\n${captures}` };
    },
  });
}

/** The customer stands in the id of his hold. */
function referenceTo(merchantId: string, id: string): HoldReference {
  const customer = /^hold_(.+)_[A-Z]{3}_\d+$/.exec(id)?.[1] ?? refuse({ code: 'HOLD_NOT_FOUND' });
  return { merchantId, customerId: customer, holdId: id };
}

/** Words a refusal in major units, as amounts are typed here; the API uses minor units. */
function refused({ refusal }: RefusedHold, of: string): never {
  if (refusal.code !== 'INSUFFICIENT_WALLET_FUNDS') return refuse(refusal);
  const [available, required] = [refusal.available, Math.min(refusal.required, MAX_AMOUNT_MINOR)];
  return giveUp(
    `Insufficient balance: ${formatMinor(available, of)} is available, ${formatMinor(required, of)} required.`,
  );
}

type HoldResponse = ReturnType<typeof holdResponse>;

function shown(one: HoldResponse, before: Readonly<Record<string, string | null>> = {}): Result {
  const money = (amount: number) => formatMinor(amount, one.currency);
  const facts = properties({
    ...before,
    hold: one.hold_id,
    status: one.status,
    kind: one.kind === 'api' ? null : one.kind,
    amount: money(one.amount),
    captured: one.captured === 0 ? null : money(one.captured),
    beyond: one.beyond === 0 ? null : money(one.beyond),
    released: one.released === 0 ? null : money(one.released),
    remaining: one.remaining === 0 ? null : money(one.remaining),
    reason: one.reason,
    'released for': one.release_reason,
    reference: one.reference_object_id,
    key: one.idempotency_key,
    placed: time(one.created_at),
    [one.closed_at === null ? 'ends' : 'ended']: time(one.closed_at ?? one.expires_at),
  });
  return { json: one, text: facts };
}

function holdTable(holds: readonly HoldResponse[]): string {
  const money = (amount: (one: HoldResponse) => number) =>
    alignRight(holds.map((one) => formatMinor(amount(one), one.currency)));
  const [amounts, captured] = [money(({ amount }) => amount), money((one) => one.captured)];
  return table(
    ['hold', 'status', 'amount', 'captured', 'ends', 'reference'],
    holds.map((one, row) => [
      ...[one.hold_id, one.status, amounts[row] ?? '', captured[row] ?? ''],
      ...[time(one.closed_at ?? one.expires_at), one.reference_object_id],
    ]),
    'No holds.',
  );
}
