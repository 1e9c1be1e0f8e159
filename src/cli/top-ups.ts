import type { Command } from 'commander';
import { transaction } from '../db/transaction.ts';
import { formatMinor } from '../money.ts';
import { listTopUps } from '../top-ups/attempt-store.ts';
import { resumeRule } from '../top-ups/manage.ts';
import { standingOf } from '../top-ups/standing.ts';
import { currency, text } from '../views/fields.ts';
import { ruleResponse, topUpResponse } from '../views/top-up.ts';
import { addMerchantCommand, takes } from './command.ts';
import { alignRight, properties, table, time } from './output.ts';
import { limitOption, moreAfter } from './paging.ts';

const wallet = {
  customerId: takes('<customer-id>', 'cus_…', text(300, 1)),
  currency: takes('<currency>', 'such as USD', currency),
};

/** Wallets that are filled up by themselves. */
export function addTopUpCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'list',
    summary: "List a wallet's top-ups, newest first",
    takes: { ...wallet, limit: limitOption },
    async run({ limit, ...input }, { db }, { merchantId }) {
      const page = { state: null, pageSize: limit, offset: 0 };
      const found = (await listTopUps(db, { merchantId, ...input }, page)).map(topUpResponse);
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
      (await context.waker()).wake();
      (await context.waker('charge-top-ups')).wake();
      const json = ruleResponse(standing);
      return { json, text: ruleText(json) };
    },
  });
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
