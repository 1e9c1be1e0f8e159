import type { Command } from 'commander';
import { z } from 'zod';
import { requireCustomer } from '../customers/store.ts';
import { type Queryable, transaction } from '../db/transaction.ts';
import { refuse } from '../errors.ts';
import { formatMinor } from '../money.ts';
import { TOP_UP_STATES } from '../top-ups/attempt.ts';
import { listTopUps, topUpsByIds } from '../top-ups/attempt-store.ts';
import { failTopUp, resumeRule } from '../top-ups/manage.ts';
import { standingOf } from '../top-ups/standing.ts';
import type { TopUp } from '../top-ups/tables.ts';
import { currency, text } from '../views/fields.ts';
import { ruleResponse, topUpResponse } from '../views/top-up.ts';
import { addMerchantCommand, flag, takes } from './command.ts';
import type { CliContext } from './context.ts';
import { alignRight, properties, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';

const wallet = {
  customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
  currency: takes('<currency>', 'such as USD', currency),
};

const topUpId = takes('<top-up-id>', 'top_…', text(100, 1));

/** Wallets that are filled up by themselves. */
export function addTopUpCommands(group: Command): void {
  addAttemptCommands(group);
  addRuleCommands(group);
}

function addAttemptCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a wallet's top-ups, newest first",
    takes: {
      ...wallet,
      status: takes('--status <status>', TOP_UP_STATES.join(', '), z.enum(TOP_UP_STATES).optional()),
      limit: limitOption,
    },
    async run({ limit, status, ...input }, { db }, { merchantId }) {
      const page = { state: status ?? null, pageSize: limit, offset: 0 };
      const found = (await listTopUps(db, { merchantId, ...input }, page)).map(topUpResponse);
      if (found.length === 0) await requireCustomer(db, merchantId, input.customerId);
      const amounts = alignRight(found.map((one) => formatMinor(one.amount, one.currency)));
      const rows = found.map((one, index) => [
        ...[one.topup_id, one.status, amounts[index] ?? null, one.decline_code ?? one.reason],
        ...[one.payment_id, time(one.created_at)],
      ]);
      const shown = table(['TOP-UP', 'STATUS', 'AMOUNT', 'WHY', 'PAYMENT', 'BEGUN'], rows, 'No top-ups.');
      return { json: { items: found }, text: `${shown}${moreAfter(found.length, limit, `--limit ${limit * 2}`)}` };
    },
  });

  addMerchantCommand(group, {
    name: 'show',
    summary: 'Show a top-up',
    takes: { topUpId },
    run: async (input, { db }, { merchantId }) => shown(await find(db, merchantId, input.topUpId)),
  });

  addMerchantCommand(group, {
    name: 'fail',
    summary: 'Say that a payment which somebody else was to make failed',
    details:
      'For top-ups that are requested. It counts as a decline: the next is asked for after an hour, then after six, and the third in a row suspends the rule.',
    takes: {
      topUpId,
      code: takes('--code <code>', "the provider's word for the decline", text(100, 1).optional()),
      hard: flag('--hard', 'to try again does not help: suspend the rule at once'),
    },
    async run({ topUpId: id, code, hard }, context, { merchantId }) {
      const { pool, db, clock } = context;
      const key = await find(db, merchantId, id);
      const failure = { declineCode: code ?? null, isHard: hard, now: clock.now() };
      const topUp = await transaction(pool, (tx) => failTopUp(tx, key, failure));
      await wake(context);
      return shown(topUp);
    },
  });
}

function addRuleCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'rule',
    summary: 'Show when and how a wallet is filled up',
    takes: wallet,
    async run(input, { db, clock }, { merchantId }) {
      const json = ruleResponse(await standingOf(db, { merchantId, ...input }, clock.now()));
      return { json, text: ruleText(json) };
    },
  });

  addMerchantCommand(group, {
    name: 'resume',
    summary: 'Let a suspended rule charge again, at once where the wallet is low',
    takes: wallet,
    async run(input, context, { merchantId }) {
      const { pool, clock } = context;
      const key = { merchantId, ...input };
      const now = clock.now();
      const standing = await transaction(pool, async (tx) => {
        await resumeRule(tx, key, now);
        return standingOf(tx, key, now);
      });
      await wake(context);
      const json = ruleResponse(standing);
      return { json, text: ruleText(json) };
    },
  });
}

async function find(db: Queryable, merchantId: string, id: string): Promise<TopUp> {
  const [topUp] = await topUpsByIds(db, merchantId, [id]);
  return topUp ?? refuse({ code: 'TOP_UP_NOT_FOUND' });
}

/** What was left is sent, and the wallet is looked at, at once. */
async function wake(context: CliContext): Promise<void> {
  (await context.waker()).wake();
  (await context.waker('charge-top-ups')).wake();
}

function shown(topUp: TopUp) {
  const json = topUpResponse(topUp);
  const fields = {
    ...{ 'top-up': json.topup_id, status: json.status, customer: json.customer_id, begun: json.origin },
    ...{ amount: formatMinor(json.amount, json.currency), why: json.reason, decline: json.decline_code },
    ...{ source: json.source_id, payment: json.payment_id, made: time(json.created_at) },
    ended: time(json.settled_at),
  };
  return { json, text: properties(fields) };
}

function ruleText(rule: ReturnType<typeof ruleResponse>): string {
  const money = (amount: number | null) => (amount === null ? null : formatMinor(amount, rule.currency));
  return properties({
    status: rule.enabled ? rule.status : 'disabled',
    why: rule.suspension?.reason ?? null,
    since: time(rule.suspension?.since ?? null),
    'last decline': rule.decline_code,
    below: money(rule.threshold),
    by: money(rule.amount),
    'up to': money(rule.target),
    'this month': `${money(rule.spent_this_month)} of ${money(rule.monthly_cap)}`,
    'charged by': rule.payment?.source_id ?? 'whoever hears of topup.requested',
    'under way': rule.in_flight?.topup_id ?? null,
    next: time(rule.next_attempt_at),
  });
}
