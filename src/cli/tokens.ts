import type { Command } from 'commander';
import { createPaymentToken, revokePaymentToken, TOKEN_LIFE } from '../customers/payment-tokens.ts';
import { transaction } from '../db/transaction.ts';
import { TOKEN_PURPOSES } from '../payments/token.ts';
import { currency, text } from '../views/fields.ts';
import { paymentMetadataResponse } from '../views/payment-metadata.ts';
import { addMerchantCommand, takes, UsageError } from './command.ts';
import { properties, time } from './output.ts';
import { count, duration, oneOf, parseAmount } from './values.ts';

const customerId = takes('<customer-id>', 'cus_…', text(300, 1));
const money = text(20, 1).optional();
const dayCount = count(1, 3660).optional();

/** What payments are for, agreed on beforehand. */
export function addTokenCommands(group: Command): void {
  addMerchantCommand(group, {
    name: 'create',
    summary: 'Create a token for one payment of a customer and show it, this once',
    details: 'Put it on the payment as wallet_token; at PayPal and Adyen it is the whole text.',
    takes: {
      customerId,
      currency: takes('<currency>', 'such as USD', currency),
      purpose: takes(
        '--purpose <purpose>',
        `${TOKEN_PURPOSES.join(' or ')} (default: topup)`,
        oneOf(TOKEN_PURPOSES).default('topup'),
      ),
      amount: takes('--amount <amount>', 'what must at least be paid, such as 50.00 (default: anything)', money),
      credit: takes('--credit <amount>', 'what a top-up grants, such as 60.00 (default: what was paid)', money),
      bonus: takes('--bonus <amount>', 'instead of --credit: what it grants on top of what was paid', money),
      bonusDays: takes('--bonus-days <number>', 'for how long the bonus can be spent (default: for ever)', dayCount),
      paidDays: takes('--paid-days <number>', 'for how long what was paid can be spent (default: for ever)', dayCount),
      expires: takes('--expires <span>', 'by when the payment must be tried (default: 24h)', duration.prefault('24h')),
    },
    async run(input, { pool, clock, config }, { merchantId }) {
      const { least, most } = TOKEN_LIFE;
      if (input.expires < least || input.expires > most) throw new UsageError('--expires: wants 60s to 30d');
      const minor = (written: string | undefined) =>
        written === undefined ? null : parseAmount(written, input.currency);
      const rules = {
        currencies: new Set(config.WALLET_CURRENCIES),
        maxBonusRatio: config.MAX_BONUS_RATIO,
        paidExpiryMinDays: config.PAID_EXPIRY_MIN_DAYS ?? null,
        now: clock.now(),
      };
      const terms = {
        customerId: input.customerId,
        purpose: input.purpose,
        currency: input.currency,
        amount: minor(input.amount),
        creditAmount: minor(input.credit),
        bonusAmount: minor(input.bonus),
        bonusDays: input.bonusDays ?? null,
        paidDays: input.paidDays ?? null,
        expiresInSeconds: input.expires,
      };
      const made = await transaction(pool, (tx) => createPaymentToken(tx, { merchantId, ...terms }, rules));
      const json = paymentMetadataResponse(made);
      return { json, text: properties({ wallet_token: json.metadata.wallet_token, ends: time(json.expires_at) }) };
    },
  });

  addMerchantCommand(group, {
    name: 'revoke',
    summary: 'Revoke a token; no payment is credited under it from now on',
    takes: { customerId, token: takes('<token>', 'wt_…', text(300, 1)) },
    async run(input, { db, clock }, { merchantId }) {
      await revokePaymentToken(db, { merchantId, customerId: input.customerId, token: input.token }, clock.now());
      return { json: { revoked: true }, text: 'Revoked.' };
    },
  });
}
