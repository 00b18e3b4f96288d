/* An image of functions that a debugger calls: main has nothing to do. */
int main(void) { return 0; }
