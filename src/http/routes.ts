import { adminAdoptionRoutes } from './admin/adopt.ts';
import { adminApiKeyRoutes } from './admin/api-keys.ts';
import { adminMerchantRoutes } from './admin/merchants.ts';
import { adminSourceRoutes } from './admin/sources.ts';
import type { Route } from './kit/route.ts';
import { batchRoutes } from './routes/batch.ts';
import { bonusRuleRoutes } from './routes/bonus-rules.ts';
import { checkoutRefundRoutes } from './routes/checkout-refunds.ts';
import { checkoutRoutes } from './routes/checkouts.ts';
import { customerRoutes } from './routes/customers.ts';
import { eventRoutes } from './routes/events.ts';
import { grantScheduleRoutes } from './routes/grant-schedules.ts';
import { holdBatchRoutes } from './routes/hold-batch.ts';
import { holdRoutes } from './routes/holds.ts';
import { keyWarningRoutes } from './routes/key-warnings.ts';
import { ledgerEntryRoutes } from './routes/ledger-entries.ts';
import { linkRoutes } from './routes/links.ts';
import { lotRoutes } from './routes/lots.ts';
import { paymentMetadataRoutes } from './routes/payment-metadata.ts';
import { paymentRoutes } from './routes/payments.ts';
import { reconciliationRoutes } from './routes/reconciliation.ts';
import { scheduledEntryRoutes } from './routes/scheduled-entries.ts';
import { systemRoutes } from './routes/system.ts';
import { topUpRoutes } from './routes/top-ups.ts';
import { walletStatusRoutes } from './routes/wallet-status.ts';
import { walletRoutes } from './routes/wallets.ts';
import { webhookEndpointRoutes } from './routes/webhook-endpoints.ts';
import { webhookMessageRoutes } from './routes/webhook-messages.ts';
import { webhookRoutes } from './routes/webhooks.ts';

/** Every route. Express searches from the top, so busy routes come first, and fixed paths before patterns. */
export const ROUTES: readonly Route[] = [
  ...webhookRoutes,
  ...ledgerEntryRoutes,
  ...holdRoutes,
  ...lotRoutes,
  ...scheduledEntryRoutes,
  ...grantScheduleRoutes,
  ...topUpRoutes,
  ...checkoutRefundRoutes,
  ...checkoutRoutes,
  ...walletRoutes,
  ...walletStatusRoutes,
  ...keyWarningRoutes,
  ...batchRoutes,
  ...holdBatchRoutes,
  ...customerRoutes,
  ...linkRoutes,
  ...paymentMetadataRoutes,
  ...paymentRoutes,
  ...bonusRuleRoutes,
  ...eventRoutes,
  ...reconciliationRoutes,
  ...webhookEndpointRoutes,
  ...webhookMessageRoutes,
  ...adminMerchantRoutes,
  ...adminApiKeyRoutes,
  ...adminSourceRoutes,
  ...adminAdoptionRoutes,
  ...systemRoutes,
];
