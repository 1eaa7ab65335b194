"""What the recorded Marlin build says at boot, when asked for its capabilities and settings, and when it fails."""

from __future__ import annotations

from typing import Final

CAPABILITIES: Final = (
    "SERIAL_XON_XOFF:0 BINARY_FILE_TRANSFER:0 EEPROM:1 VOLUMETRIC:1 AUTOREPORT_POS:1 AUTOREPORT_TEMP:1 PROGRESS:0"
    " PRINT_JOB:1 AUTOLEVEL:0 RUNOUT:0 Z_PROBE:0 LEVELING_DATA:0 BUILD_PERCENT:0 SOFTWARE_POWER:0 TOGGLE_LIGHTS:0"
    " CASE_LIGHT_BRIGHTNESS:0 EMERGENCY_PARSER:{e} HOST_ACTION_COMMANDS:1 PROMPT_SUPPORT:1 SDCARD:{s} REPEAT:0"
    " SD_WRITE:0 AUTOREPORT_SD_STATUS:{r} LONG_FILENAME:0 LFN_WRITE:0 CUSTOM_FIRMWARE_UPLOAD:0 EXTENDED_M20:0"
    " THERMAL_PROTECTION:1 MOTION_MODES:0 ARCS:1 BABYSTEPPING:0 CHAMBER_TEMPERATURE:0"
    " COOLER_TEMPERATURE:0 MEATPACK:0 CONFIG_EXPORT:0"
)
BANNER: Final = (
    "start",
    "Marlin bugfix-2.1.x",
    "echo: Last Updated: 2023-01-07 | Author: (none, default config)",
    "echo: Compiled: Nov 22 2026",
    "echo: Free Memory: 5377  PlannerBufferBytes: 1136",
    "echo:EEPROM version mismatch (EEPROM=? Marlin=V87)",
    "//action:notification EEPROM Version Error",
    "//action:notification EEPROM Version Error",
    "//action:notification Hardcoded Default Settings Loaded",
    "echo:Hardcoded Default Settings Loaded",
    "//action:prompt_end",
)
RESET_CAUSES: Final = {"watchdog": " Watchdog Reset", "brownout": " Brown out Reset", "software": " Software Reset"}
AREA: Final = (
    "area:{full:{min:{x:0.00,y:0.00,z:0.00},max:{x:200.00,y:200.00,z:200.00}},"
    "work:{min:{x:0.00,y:0.00,z:0.00},max:{x:200.00,y:200.00,z:200.00}}}"
)
SETTINGS: Final = (
    "; Linear Units:",
    "  G21 ; (mm)",
    "; Temperature Units:",
    "  M149 C ; Units in Celsius",
    "; Filament settings (Disabled):",
    "  M200 S0 D1.75",
    "; Steps per unit:",
    "  M92 X80.00 Y80.00 Z400.00 E500.00",
    "; Max feedrates (units/s):",
    "  M203 X300.00 Y300.00 Z5.00 E25.00",
    "; Max Acceleration (units/s2):",
    "  M201 X3000.00 Y3000.00 Z100.00 E10000.00",
    "; Acceleration (units/s2) (P<print-accel> R<retract-accel> T<travel-accel>):",
    "  M204 P3000.00 R3000.00 T3000.00",
    "; Advanced (B<min_segment_time_us> S<min_feedrate> T<min_travel_feedrate> J<junc_dev>):",
    "  M205 B20000.00 S0.00 T0.00 J0.01",
    "; Home offset:",
    "  M206 X0.00 Y0.00 Z0.00",
    "; Hotend PID:",
    "  M301 P22.20 I1.08 D114.00",
    "; Filament load/unload:",
    "  M603 L0.00 U100.00 ; (mm)",
)


#: The display's text for each thermal failure.
SCREEN: Final = {
    "Heating failed": "Heating Failed",
    "Thermal Runaway": "THERMAL RUNAWAY",
    "MINTEMP triggered": "Err: MINTEMP",
    "MAXTEMP triggered": "Err: MAXTEMP",
}
