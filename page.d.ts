// What js/early.js leaves for the page; for the types of jsconfig.json only.
interface Window {
  accountLink?: { token: string; enterprise_number: string | null };
  enterpriseAsked?: string;
}
