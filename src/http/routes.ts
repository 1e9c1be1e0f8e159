import { adminApiKeyRoutes } from './admin-api-keys.ts';
import { adminMerchantRoutes } from './admin-merchants.ts';
import { adminSourceRoutes } from './admin-sources.ts';
import { batchRoutes } from './batch.ts';
import { customerRoutes } from './customers.ts';
import { eventRoutes } from './events.ts';
import { ledgerEntryRoutes } from './ledger-entries.ts';
import { paymentRoutes } from './payments.ts';
import { reconciliationRoutes } from './reconciliation.ts';
import type { Route } from './route.ts';
import { systemRoutes } from './system.ts';
import { walletRoutes } from './wallets.ts';
import { webhookEndpointRoutes } from './webhook-endpoints.ts';
import { webhookMessageRoutes } from './webhook-messages.ts';
import { webhookRoutes } from './webhooks.ts';

/** Every route there is. Express looks from the top, so the busy ones come first, and fixed paths before patterns. */
export const ROUTES: readonly Route[] = [
  ...webhookRoutes,
  ...ledgerEntryRoutes,
  ...walletRoutes,
  ...batchRoutes,
  ...customerRoutes,
  ...paymentRoutes,
  ...eventRoutes,
  ...reconciliationRoutes,
  ...webhookEndpointRoutes,
  ...webhookMessageRoutes,
  ...adminMerchantRoutes,
  ...adminApiKeyRoutes,
  ...adminSourceRoutes,
  ...systemRoutes,
];
