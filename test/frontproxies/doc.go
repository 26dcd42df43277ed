// Package frontproxies tests what easyops export writes with the proxies that it
// is for, HAProxy and nginx as Debian has them: that they take it, where they lead,
// what they refuse, and that nothing fails when the services behind them are
// restarted one after the other.
package frontproxies
