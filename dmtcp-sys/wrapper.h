#include <dmtcp.h>
