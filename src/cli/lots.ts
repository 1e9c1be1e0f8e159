import type { Command } from 'commander';
import { z } from 'zod';
import { requireCustomer } from '../customers/store.ts';
import { refuse } from '../errors.ts';
import { changesOf, getLot, listClosedLots, listOpenLots, movementsOf } from '../ledger/lots/read.ts';
import type { RefusedLot } from '../ledger/lots/results.ts';
import { formatMinor } from '../money.ts';
import { entryResponse } from '../views/entry.ts';
import { currency, text } from '../views/fields.ts';
import { lotDetailResponse, lotKind, lotResponse } from '../views/lot.ts';
import { type LotReference, lotKeyOf, toLotChange, toVoid } from '../views/lot-requests.ts';
import { addMerchantCommand, type Result, takes, UsageError } from './command.ts';
import { giveUp } from './give-up.ts';
import { keyOption, keyOr, noteRepeated } from './keyed.ts';
import { alignRight, properties, table, time } from './output.ts';
import { foundInWindows, limitOption, moreAfter, placeBefore } from './paging.ts';
import { settledWallets } from './settled.ts';
import { count, expiry, oneOf, parseAmount } from './values.ts';

const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const lotId = takes('<lot-id>', 'lot_…, as "lots list" shows it', text(400, 1));

/** Credit with terms of its own, such as a promotion that ends. `wallets credit` gives it. */
export function addLotCommands(group: Command): void {
  addListCommand(group);
  addShowCommand(group);
  addVoidCommand(group);
  addChangeCommand(group);
}

function addListCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a customer's lots, open ones in the order in which they are spent",
    takes: {
      customerId,
      currency: takes('--currency <currency>', 'of one wallet, such as USD', currency.optional()),
      status: takes(
        '--status <status>',
        'open, or closed, newest first (default: open)',
        oneOf(['open', 'closed']).default('open'),
      ),
      kind: takes('--kind <kind>', lotKind.options.join(', '), lotKind.optional()),
      expiresBefore: takes('--expires-before <when>', 'only lots that end before then, such as 7d', expiry.optional()),
      limit: limitOption,
      before: takes(
        '--before <number>',
        'only closed lots before this number; wants --currency',
        count(1, 999_999_999).optional(),
      ),
    },
    async run({ limit, before, status, kind, expiresBefore, ...input }, context, { merchantId }) {
      if (before !== undefined && input.currency === undefined)
        throw new UsageError('--before: wants --currency, since every wallet counts its own lots');
      const owner = { merchantId, customerId: input.customerId };
      const wallets = await settledWallets(context, owner);
      const filter = {
        ...{ currency: input.currency ?? null, kind: kind ?? null },
        expiresBefore: expiresBefore?.(context.clock.now()) ?? null,
      };
      const isClosed = status === 'closed';
      const lots = isClosed
        ? await foundInWindows(placeBefore(input.currency, before), limit, async (from, pageSize) => {
            const page = { ...filter, from, pageSize, pageNumber: 0 };
            const { lots: items, next } = await listClosedLots(context.db, { ...owner, wallets }, page);
            return { items, next };
          })
        : (await listOpenLots(context.db, owner, filter)).slice(0, limit);
      if (lots.length === 0) await requireCustomer(context.db, merchantId, input.customerId);
      const items = lots.map(lotResponse);
      const next = isClosed ? `--currency ${input.currency ?? '…'} --before ${lots.at(-1)?.lotNo}` : 'a higher --limit';
      return { json: { items }, text: `${lotTable(items)}${moreAfter(items.length, limit, next)}` };
    },
  });
}

function addShowCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a lot with what became of it',
    takes: { lotId },
    async run({ lotId: wanted }, context, { merchantId }) {
      const key = lotKeyOf(referenceTo(merchantId, wanted));
      await settledWallets(context, key);
      const lot = (await getLot(context.db, key)) ?? refuse({ code: 'LOT_NOT_FOUND' });
      const detail = lotDetailResponse(lot, await movementsOf(context.db, key), await changesOf(context.db, key));
      const { movements, changes, ...one } = detail;
      const signed = ({ amount }: { amount: number }) =>
        `${amount > 0 ? '+' : '-'}${formatMinor(Math.abs(amount), one.currency)}`;
      const amounts = alignRight(movements.map(signed));
      const moved = movements.map(({ entry_id: id, created_at: at }, row) => [id, time(at), amounts[row] ?? '']);
      const parts = [shown(one).text, table(['entry', 'written', 'moved'], moved, 'No movements.')];
      if (changes.length > 0) parts.push(changeTable(changes));
      return { json: detail, text: parts.join('\n\n') };
    },
  });
}

function addVoidCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'void',
    summary: 'Take what is left of a lot away, or a part of it',
    details: 'What a hold needs is not taken.',
    takes: {
      lotId,
      reason: takes('--reason <text>', 'why; it stands on the entry', text(1000, 1)),
      amount: takes(
        '--amount <amount>',
        'in the unit people write, such as 12.50 (default: what is left)',
        z.string().optional(),
      ),
      key: keyOption,
    },
    async run({ lotId: wanted, reason, amount, key }, context, { merchantId }) {
      const reference = referenceTo(merchantId, wanted);
      const { currency: of } = lotKeyOf(reference);
      const minor = amount === undefined ? undefined : parseAmount(amount, of);
      const ledger = await context.ledger();
      const result = await ledger.lot(toVoid(reference, { amount: minor, reason }, keyOr(key)));
      if (result.kind === 'refused') return refused(result, of);
      const entry = entryResponse(result.entry);
      if (result.kind === 'repeated') {
        noteRepeated();
        return { json: { entry }, text: properties({ entry: entry.id }) };
      }
      const voided = { entry: entry.id, 'taken away': formatMinor(entry.amount, of) };
      const { json, text: facts } = shown(lotResponse(result.lot), voided);
      return { json: { lot: json, entry }, text: facts };
    },
  });
}

function addChangeCommand(group: Command): void {
  addMerchantCommand(group, {
    name: 'change',
    summary: 'Change when a lot ends, or before what it is spent',
    details: 'It moves no money; who changed it and why is kept.',
    takes: {
      lotId,
      reason: takes('--reason <text>', 'why; it stands on the change', text(1000, 1)),
      expires: takes(
        '--expires <when>',
        'a time, a time span from now such as 30d, or never',
        z.union([z.literal('never').transform(() => () => null), expiry], { error: END_ERROR }).optional(),
      ),
      priority: takes('--priority <number>', '0 to 100, lower ones are spent first', count(0, 100).optional()),
    },
    async run({ lotId: wanted, reason, expires, priority }, context, { merchantId }) {
      if (expires === undefined && priority === undefined) throw new UsageError('wants --expires or --priority');
      const reference = referenceTo(merchantId, wanted);
      const body = { reason, priority, expires_at: expires?.(context.clock.now()) };
      const ledger = await context.ledger();
      const result = await ledger.lot(toLotChange(reference, body, 'cli'));
      return result.kind === 'refused' ? refused(result, lotKeyOf(reference).currency) : shown(lotResponse(result.lot));
    },
  });
}

const END_ERROR = 'wants a time such as 2026-12-31T12:00:00Z, a time span such as 30d, or never';

/** The customer stands in the id of his lot. */
function referenceTo(merchantId: string, id: string): LotReference {
  const customer = /^lot_(.+)_[A-Z]{3}_\d+$/.exec(id)?.[1] ?? refuse({ code: 'LOT_NOT_FOUND' });
  return { merchantId, customerId: customer, lotId: id };
}

/** Words a refusal in major units, as amounts are typed here; the API uses minor units. */
function refused({ refusal }: RefusedLot, of: string): never {
  const money = (amount: number) => formatMinor(amount, of);
  if (refusal.code === 'LOT_AMOUNT_EXCEEDED')
    return giveUp(`Of the lot, ${money(refusal.remaining)} is left, ${money(refusal.required)} required.`);
  if (refusal.code !== 'INSUFFICIENT_WALLET_FUNDS') return refuse(refusal);
  return giveUp(
    `Insufficient balance: ${money(refusal.available)} is available, ${money(refusal.required)} required. A hold needs the rest.`,
  );
}

type LotResponse = ReturnType<typeof lotResponse>;
type LotChanges = ReturnType<typeof lotDetailResponse>['changes'];

function shown(one: LotResponse, before: Readonly<Record<string, string | null>> = {}): Result {
  const moneyOrNone = (amount: number) => (amount === 0 ? null : formatMinor(amount, one.currency));
  const facts = properties({
    ...before,
    lot: one.lot_id,
    name: one.name,
    status: one.status,
    kind: one.kind,
    priority: one.priority,
    amount: formatMinor(one.amount, one.currency),
    spent: moneyOrNone(one.spent),
    expired: moneyOrNone(one.expired),
    voided: moneyOrNone(one.voided),
    'taken back': moneyOrNone(one.taken_back),
    remaining: moneyOrNone(one.remaining),
    expires: time(one.expires_at) ?? 'never',
    'given by': one.origin.entry_id,
    given: time(one.created_at),
    closed: time(one.closed_at),
  });
  return { json: one, text: facts };
}

function lotTable(lots: readonly LotResponse[]): string {
  const money = (amount: (one: LotResponse) => number) =>
    alignRight(lots.map((one) => formatMinor(amount(one), one.currency)));
  const [amounts, remaining] = [money(({ amount }) => amount), money((one) => one.remaining)];
  return table(
    ['lot', 'status', 'kind', 'amount', 'remaining', 'priority', 'expires', 'name'],
    lots.map((one, row) => [
      ...[one.lot_id, one.status, one.kind, amounts[row] ?? '', remaining[row] ?? '', one.priority],
      ...[time(one.expires_at) ?? 'never', one.name],
    ]),
    'No lots.',
  );
}

function changeTable(changes: LotChanges): string {
  return table(
    ['changed', 'by', 'expires', 'priority', 'reason'],
    changes.map((one) => [
      ...[time(one.created_at), one.actor, time(one.new_expires_at) ?? 'never', one.new_priority, one.reason],
    ]),
    'No changes.',
  );
}
